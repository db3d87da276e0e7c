"""The order protocol, and what orders share: whole batches, and the slices that ranks take."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from bsou_dist.common.errors import InputError

PADDING = -1
"""Index of a row that holds no item."""


class Order(Protocol):
    """Items of every global batch, as a function of the epoch."""

    def steps(self) -> int:
        """Global batches in an epoch."""

    def epoch(self, epoch: int) -> np.ndarray:
        """Indices of the items of an epoch, int64 (steps, global_batch); PADDING: no item."""


def whole_batches(index: np.ndarray, global_batch: int) -> np.ndarray:
    """Whole batches (steps, global_batch); the ragged tail is dropped."""
    steps = len(index) // global_batch
    return index[: steps * global_batch].reshape(steps, global_batch)


def even_batches(index: np.ndarray, global_batch: int) -> np.ndarray:
    """All items in as few batches (steps, global_batch) as hold them, of sizes that differ by at
    most one.

    Places that stay free are PADDING. They are spread evenly over a batch, so that ranks, which
    take slices of it, hold about equally many items.
    """
    steps = math.ceil(len(index) / global_batch)
    batches = np.full((steps, global_batch), PADDING, dtype=np.int64)
    for batch, items in zip(batches, np.array_split(index, steps), strict=True):
        batch[np.arange(len(items)) * global_batch // len(items)] = items
    return batches


def rank_slice(count: int, rank: int, world: int) -> slice:
    """Rows of a global batch of `count` that `rank` of `world` holds.

    They are contiguous; where the count does not divide, the first ranks hold one more.

    Raises:
        InputError: fewer rows than ranks.
    """
    assert 0 <= rank < world, (rank, world)
    if count < world:
        raise InputError(
            f"a global batch of {count} cannot be shared by {world} processes; "
            f"set global_batch to at least {world} or start fewer processes"
        )
    size, left_over = divmod(count, world)
    start = rank * size + min(rank, left_over)
    if rank < left_over:
        size += 1
    return slice(start, start + size)
