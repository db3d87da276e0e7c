"""Evaluation: every item once, in turn."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bsou_dist.feed.order.protocol import PADDING


@dataclass(frozen=True)
class InTurn:
    """Every one of `n` items once and in turn, whatever the epoch.

    The last batch is filled with PADDING.
    """

    n: int
    global_batch: int

    def steps(self) -> int:
        """See `Order`."""
        return math.ceil(self.n / self.global_batch)

    def epoch(self, epoch: int) -> np.ndarray:
        """See `Order`."""
        index = np.arange(self.steps() * self.global_batch, dtype=np.int64)
        index[index >= self.n] = PADDING
        return index.reshape(-1, self.global_batch)
