"""What every rank knows of all ranks' rows of a global batch, though it reads only its own.

The order of items is a function of the epoch, and labels lie in memory: nothing needs asking. What
is not known of others' rows is whether their clips can be decoded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from bsou_dist.feed.dataset import ClipSet, ExamSet
from bsou_dist.feed.order.protocol import PADDING, rank_slice
from bsou_dist.tasks.labels import MISSING_CLASS


@dataclass(frozen=True)
class GlobalRows:
    """The R rows of all ranks, in rank order; of a rank, view-major."""

    dataset: ClipSet | ExamSet
    items: np.ndarray
    """int64 (R,): position in the set; PADDING where a row holds nothing."""
    counts: list[int]
    """Rows of each rank."""
    rank: int
    """The one that asks."""

    def labels(self, tasks: list[str]) -> np.ndarray:
        """Class indices of some tasks, int64 (T, R), -1 where missing."""
        return np.stack([self._of_rows(self.dataset.labels[task], MISSING_CLASS) for task in tasks])

    def sweep(self) -> np.ndarray:
        """int64 (R,), as in `Batch`."""
        return self._of_rows(self.dataset.sweep, -1)

    def subject(self) -> np.ndarray:
        """int64 (R,), as in `Batch`."""
        return self._of_rows(self.dataset.subject, -1)

    def _of_rows(self, values: np.ndarray, missing: int) -> np.ndarray:
        assert values.dtype == np.int64, values.dtype
        of_rows: np.ndarray = np.where(self.items == PADDING, missing, values[self.items])
        return of_rows


class Movable(Protocol):
    """What can be moved to a device."""

    def to(self, device: str) -> Any:
        """The same on a device."""


Planner = Callable[[GlobalRows], Movable]
"""Makes what a loss needs to know of all rows, on the CPU and ahead of the step."""


def global_rows(
    dataset: ClipSet | ExamSet, items: np.ndarray, *, views: int, rank: int, world: int
) -> GlobalRows:
    """The rows that `world` ranks make of the items of a global batch, (global_batch,)."""
    slices = [rank_slice(len(items), one, world) for one in range(world)]
    rows = [np.tile(items[of_rank], views) for of_rank in slices]
    return GlobalRows(dataset, np.concatenate(rows), [len(one) for one in rows], rank)
