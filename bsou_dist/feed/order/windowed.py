"""Training where random reads are dear: shuffled within windows of shards."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bsou_dist.common.keyed_random import keyed_permutation
from bsou_dist.feed.order.protocol import even_batches, whole_batches


@dataclass(frozen=True, eq=False)
class Windowed:
    """Shards in a random order, and items shuffled within a window of `window` shards.

    Each shard can be read once and in sequence. `shard` (n,) is the number of the shard that holds
    an item. What an epoch holds over whole batches is dropped, or with `keep_all` all items are
    shared evenly by one batch more.
    """

    shard: np.ndarray
    global_batch: int
    seed: int
    window: int
    keep_all: bool = False

    def steps(self) -> int:
        """See `Order`."""
        if self.keep_all:
            return math.ceil(len(self.shard) / self.global_batch)
        return len(self.shard) // self.global_batch

    def epoch(self, epoch: int) -> np.ndarray:
        """See `Order`."""
        shuffled = keyed_permutation(len(self.shard), "order in windows", self.seed, epoch)
        window_of_shard = self._turn(epoch) // self.window
        window_of_item = window_of_shard[self.shard]
        # A stable sort by window leaves the items of a window shuffled.
        by_window = np.argsort(window_of_item[shuffled], kind="stable")
        in_batches = even_batches if self.keep_all else whole_batches
        return in_batches(shuffled[by_window], self.global_batch)

    def windows(self, epoch: int) -> list[tuple[int, list[int]]]:
        """Per window, the position in the epoch at which it begins, and its shards as read."""
        turn = self._turn(epoch)
        shards_in_turn = np.argsort(turn)
        sizes = np.bincount(turn[self.shard] // self.window)
        starts = np.cumsum(sizes) - sizes
        windows = []
        for number, start in enumerate(starts.tolist()):
            first = number * self.window
            windows.append((start, shards_in_turn[first : first + self.window].tolist()))
        return windows

    def _turn(self, epoch: int) -> np.ndarray:
        """Position of each shard in the order of reading, int64 (shards,)."""
        shards = int(self.shard.max()) + 1
        shards_in_turn = keyed_permutation(shards, "shard order", self.seed, epoch)
        return np.argsort(shards_in_turn)
