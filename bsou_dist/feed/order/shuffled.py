"""Training in one random order of all items."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bsou_dist.common.keyed_random import keyed_permutation
from bsou_dist.feed.order.protocol import even_batches, whole_batches


@dataclass(frozen=True)
class Shuffled:
    """A permutation of `n` items, drawn anew each epoch.

    What it holds over whole batches is dropped, or with `keep_all` all items are shared evenly by
    one batch more.
    """

    n: int
    global_batch: int
    seed: int
    keep_all: bool = False

    def steps(self) -> int:
        """See `Order`."""
        if self.keep_all:
            return math.ceil(self.n / self.global_batch)
        return self.n // self.global_batch

    def epoch(self, epoch: int) -> np.ndarray:
        """See `Order`."""
        shuffled = keyed_permutation(self.n, "epoch order", self.seed, epoch)
        in_batches = even_batches if self.keep_all else whole_batches
        return in_batches(shuffled, self.global_batch)
