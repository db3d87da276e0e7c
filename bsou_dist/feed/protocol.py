"""What a training loop asks of a feed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from bsou_dist.feed.batch import Batch
from bsou_dist.feed.dataset import ClipSet, ExamSet


class Feed(Protocol):
    """One rank's rows of every global batch."""

    dataset: ClipSet | ExamSet
    global_batch: int
    """Items per step over all ranks."""

    def steps(self) -> int:
        """Global batches in an epoch."""

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """Batches `start_step` .. `steps()`-1 of an epoch."""

    def epochs(self, first: int, end: int, start_step: int = 0) -> Iterator[Batch]:
        """Those of epochs `first` .. `end`-1 one after the other; of the first from `start_step`
        on.
        """
