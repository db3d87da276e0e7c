"""Embeddings made beforehand, in place of pixels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bsou_dist.feed.clips import ClipSet


class Embedded:
    """A `Source` of one embedding per clip.

    Args:
        embeddings: float32 (clips, C), in the order of the ClipSet; NaN where a clip could not be decoded.
        device: where they are wanted.
    """

    views = 1

    def __init__(self, embeddings: np.ndarray, device: str = "cpu") -> None:
        self.device = device
        self._there = ~np.isnan(embeddings).any(axis=1)
        self._rows = torch.from_numpy(np.nan_to_num(embeddings)).to(device)

    @classmethod
    def of(cls, clips: ClipSet, embeddings: pd.Series, device: str = "cpu") -> Embedded:
        """Those of `clips` among `embeddings`, which are arrays (C,) by clip key."""
        return cls(np.stack(embeddings.loc[clips.key].to_list()).astype(np.float32), device)

    def fetch(self, picked: np.ndarray, epoch: int) -> tuple[Tensor, np.ndarray]:
        """float32 (n, C), zero where there is none; and bool (n,), which there are."""
        present = (picked >= 0) & self._there[picked]
        rows = self._rows[torch.from_numpy(np.where(present, picked, 0)).to(self.device)]
        return torch.where(torch.from_numpy(present).to(self.device)[:, None], rows, 0.0), present
