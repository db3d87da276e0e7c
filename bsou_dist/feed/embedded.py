"""Embeddings made beforehand, in place of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bsou_dist.feed.dataset import ClipSet
from bsou_dist.feed.reader_pool import ReaderPool, Reads
from bsou_dist.feed.side_stream import to_device


class Embedded:
    """A `ClipSource` that gives one embedding per clip.

    Args:
        embeddings: float32 (clips, C), in the order of the ClipSet; NaN where a clip could not be
            decoded.
        device: where they are wanted.
    """

    views = 1
    readers = 1
    threads = 1
    piece = 1 << 20  # whole batches: there is nothing to share

    def __init__(self, embeddings: np.ndarray, device: str = "cpu") -> None:
        self.device = device
        self._decoded = ~np.isnan(embeddings).any(axis=1)
        self._rows = torch.from_numpy(np.nan_to_num(embeddings)).to(device)

    @classmethod
    def of(cls, clips: ClipSet, embeddings: pd.Series, device: str = "cpu") -> Embedded:
        """A source of the embeddings of `clips`, out of arrays (C,) by clip key."""
        in_order = np.stack(embeddings.loc[clips.key].to_list())
        return cls(in_order.astype(np.float32), device)

    def empty(self, count: int) -> Tensor:
        """float32 (1, count, C) of any values."""
        return self._rows.new_empty((1, count, self._rows.shape[1]))

    def begin_reading(self, readers: ReaderPool, picked: np.ndarray) -> Reads:
        """Nothing: all embeddings are in memory."""
        return []

    def fill(
        self, rows: Tensor, picked: np.ndarray, members: Sequence[Any], epoch: int
    ) -> np.ndarray:
        """Write embeddings to `rows` (1, n, C), zero where there is none.

        Returns bool (n,): where there is one.
        """
        present = (picked >= 0) & self._decoded[picked]
        index = to_device(np.where(present, picked, 0), self.device)
        mask = to_device(present, self.device)
        torch.mul(self._rows[index], mask[:, None], out=rows[0])
        return present

    def prefetch_shard(self, number: int, stopped: Event) -> None:
        """Do nothing: all embeddings are in memory."""
