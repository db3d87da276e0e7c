"""The order protocol, and what orders share: whole batches, and the slices that ranks take."""

from __future__ import annotations

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
