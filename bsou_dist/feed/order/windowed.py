"""Training where random reads are dear: shuffled within windows of shards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bsou_dist.common.keyed_random import keyed_permutation
from bsou_dist.feed.order.protocol import whole_batches


@dataclass(frozen=True, eq=False)
class Windowed:
    """Training where random reads are dear: shards are shuffled, and then their items within a
    window of `window` shards, so that each shard can be read once and in sequence.

    `shard` (n,) is the number of the shard that holds an item.
    """

    shard: np.ndarray
    global_batch: int
    seed: int
    window: int

    def steps(self) -> int:
        """See `Order`."""
        return len(self.shard) // self.global_batch

    def epoch(self, epoch: int) -> np.ndarray:
        """See `Order`."""
        within = keyed_permutation(len(self.shard), "order in windows", self.seed, epoch)
        window = (self._turn(epoch) // self.window)[self.shard]
        return whole_batches(within[np.argsort(window[within], kind="stable")], self.global_batch)

    def windows(self, epoch: int) -> list[tuple[int, list[int]]]:
        """The shards of every window in the order of reading, and the position in the epoch at
        which it begins.
        """
        turn = self._turn(epoch)
        sizes = np.bincount(turn[self.shard] // self.window)
        shards = np.argsort(turn)
        return [
            (int(start), shards[number * self.window : (number + 1) * self.window].tolist())
            for number, start in enumerate(np.cumsum(sizes) - sizes)
        ]

    def _turn(self, epoch: int) -> np.ndarray:
        """At which place each shard's turn comes."""
        return np.argsort(
            keyed_permutation(int(self.shard.max()) + 1, "shard order", self.seed, epoch)
        )
