"""Which item (a clip or an exam) stands at which position of which global batch.

Pure functions of (count, seed, epoch): ranks, workers and restarts do not enter. Ranks take slices of a global batch.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from bsou_dist.errors import InputError
from bsou_dist.feed.randomness import keyed_permutation

PADDING = -1
"""Index of a row that holds no item."""


@lru_cache(maxsize=2)  # asked for at every step; of the size of the corpus
def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """Order of the items of one training epoch: a permutation of 0 .. n-1, int64 (n,), read-only."""
    order = keyed_permutation(n, "epoch order", seed, epoch)
    order.flags.writeable = False
    return order


def steps_per_epoch(n: int, global_batch: int, drop_last: bool) -> int:
    """Number of global batches in an epoch of n items: the ragged tail is dropped in training, kept in evaluation."""
    return n // global_batch if drop_last else -(-n // global_batch)


def batch_at(n: int, global_batch: int, seed: int, epoch: int, step: int) -> np.ndarray:
    """Indices of the items of global training batch `step` (0-based), int64 (global_batch,)."""
    assert 0 <= step < steps_per_epoch(n, global_batch, drop_last=True), (n, global_batch, step)
    return epoch_order(n, seed, epoch)[step * global_batch : (step + 1) * global_batch]


def evaluation_batch_at(n: int, global_batch: int, step: int) -> np.ndarray:
    """Indices of global evaluation batch `step`, int64 (global_batch,): in order, the last one filled with PADDING."""
    assert 0 <= step < steps_per_epoch(n, global_batch, drop_last=False), (n, global_batch, step)
    index = np.arange(step * global_batch, (step + 1) * global_batch, dtype=np.int64)
    index[index >= n] = PADDING
    return index


def rank_slice(count: int, rank: int, world: int) -> slice:
    """Rows of a global batch of `count` that `rank` of `world` holds: contiguous, the first ranks one longer.

    Raises:
        InputError: fewer rows than ranks.
    """
    assert 0 <= rank < world, (rank, world)
    if count < world:
        raise InputError(f"a global batch of {count} cannot be shared by {world} processes; "
                         f"set global_batch to at least {world} or start fewer processes")
    size, longer = divmod(count, world)
    start = rank * size + min(rank, longer)
    return slice(start, start + size + (rank < longer))
