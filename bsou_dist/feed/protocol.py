"""The feed protocols: what a training loop asks of a feed, and a loader of a source of clips."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import Event
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from bsou_dist.feed.batch import Batch
from bsou_dist.feed.dataset import ClipSet, ExamSet
from bsou_dist.feed.reader_pool import ReaderPool, Reads


class Feed(Protocol):
    """A feed of one rank: its rows of every global batch."""

    dataset: ClipSet | ExamSet
    global_batch: int
    """Items per step over all ranks."""

    def steps(self) -> int:
        """Global batches in an epoch."""

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """Batches `start_step` .. `steps()`-1 of an epoch."""

    def epochs(self, first: int, end: int, start_step: int = 0) -> Iterator[Batch]:
        """Batches of epochs `first` .. `end`-1, of the first one from `start_step` on."""


class ClipSource(Protocol):
    """A source of what stands for a clip in a batch: its pixels, or an embedding."""

    views: int
    """Rows per clip, 1 or 2."""
    device: str
    """Where rows are wanted."""
    readers: int
    """How many threads may read at once."""
    threads: int
    """How many threads may fill rows at once."""
    piece: int
    """Clips that one thread fills in one go."""

    def empty(self, count: int) -> Tensor:
        """float32 (views, count, ...) of any values."""

    def begin_reading(self, readers: ReaderPool, picked: np.ndarray) -> Reads:
        """Begin to read what `fill` needs for the clips that `picked` (n,) names."""

    def fill(
        self, rows: Tensor, picked: np.ndarray, members: Sequence[Any], epoch: int
    ) -> np.ndarray:
        """Write the clips that `picked` (n,) names to `rows` (views, n, ...).

        `members` is what was read for them. Zero where `picked` is negative or the clip cannot be
        had. Returns bool (n,): where there is one.
        """

    def prefetch_shard(self, number: int, stopped: Event) -> None:
        """Prepare for reading all clips of a shard soon, until it is done or `stopped` is set."""
