"""Training in one random order of all items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bsou_dist.common.keyed_random import keyed_permutation
from bsou_dist.feed.order.protocol import whole_batches


@dataclass(frozen=True)
class Shuffled:
    """A permutation of `n` items, drawn anew each epoch; its ragged tail is dropped."""

    n: int
    global_batch: int
    seed: int

    def steps(self) -> int:
        """See `Order`."""
        return self.n // self.global_batch

    def epoch(self, epoch: int) -> np.ndarray:
        """See `Order`."""
        shuffled = keyed_permutation(self.n, "epoch order", self.seed, epoch)
        return whole_batches(shuffled, self.global_batch)
