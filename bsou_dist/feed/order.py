"""Which item (a clip or an exam) stands at which position of which global batch.

Pure functions of (seed, epoch, items): ranks, workers and restarts do not enter, and a position is all there is to
resume by. Ranks take slices of a global batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bsou_dist.errors import InputError
from bsou_dist.feed.randomness import keyed_permutation

PADDING = -1
"""Index of a row that holds no item."""


class Order(Protocol):
    """Global batches of one kind."""

    def steps(self) -> int:
        """Global batches in an epoch."""

    def epoch(self, epoch: int) -> np.ndarray:
        """Indices of the items of an epoch, int64 (steps, global_batch), PADDING where there is none."""


@dataclass(frozen=True)
class InTurn:
    """Evaluation: every one of `n` items once and in turn, the last batch filled with PADDING, whatever the epoch."""

    n: int
    global_batch: int

    def steps(self) -> int:
        """See `Order`."""
        return -(-self.n // self.global_batch)

    def epoch(self, epoch: int) -> np.ndarray:
        """See `Order`."""
        index = np.arange(self.steps() * self.global_batch, dtype=np.int64)
        index[index >= self.n] = PADDING
        return index.reshape(-1, self.global_batch)


@dataclass(frozen=True)
class Shuffled:
    """Training: a permutation of `n` items, drawn anew each epoch; its ragged tail is dropped."""

    n: int
    global_batch: int
    seed: int

    def steps(self) -> int:
        """See `Order`."""
        return self.n // self.global_batch

    def epoch(self, epoch: int) -> np.ndarray:
        """See `Order`."""
        return _batches(keyed_permutation(self.n, "epoch order", self.seed, epoch), self.global_batch)


@dataclass(frozen=True, eq=False)
class Windowed:
    """Training where random reads are dear: shards are shuffled, and then their items within a window of `window`
    shards, so that each shard can be read once and in sequence.

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
        return _batches(within[np.argsort(window[within], kind="stable")], self.global_batch)

    def windows(self, epoch: int) -> list[tuple[int, list[int]]]:
        """The shards of every window in the order of reading, and the position in the epoch at which it begins."""
        turn = self._turn(epoch)
        sizes = np.bincount(turn[self.shard] // self.window)
        shards = np.argsort(turn)
        return [(int(start), shards[number * self.window : (number + 1) * self.window].tolist())
                for number, start in enumerate(np.cumsum(sizes) - sizes)]

    def _turn(self, epoch: int) -> np.ndarray:
        """At which place each shard's turn comes."""
        return np.argsort(keyed_permutation(int(self.shard.max()) + 1, "shard order", self.seed, epoch))


@dataclass(frozen=True, eq=False)
class Balanced:
    """Training on batches that hold equally many items of every class, to within one; items without a label (-1) are
    left out. An epoch is as many batches as the labelled items would fill, so that rare classes come more than once in
    it, and common ones in part; over epochs all items of a class come about equally often. None is twice in a batch.

    `label` (n,) is the class of an item.
    """

    label: np.ndarray
    global_batch: int
    seed: int

    def __post_init__(self) -> None:
        counts = np.unique(self.label[self.label >= 0], return_counts=True)[1].tolist()
        rarest, places = min(counts, default=0), -(-self.global_batch // max(1, len(counts)))
        if rarest < places:
            raise InputError(f"a batch of {self.global_batch} that is balanced over {len(counts)} classes holds "
                             f"{places} of each, and the rarest has {rarest} items in the training split; lower "
                             f"global_batch to at most {rarest * len(counts)}, or take another order")

    def steps(self) -> int:
        """See `Order`."""
        return int((self.label >= 0).sum()) // self.global_batch

    def epoch(self, epoch: int) -> np.ndarray:
        """See `Order`."""
        steps, classes = self.steps(), np.unique(self.label[self.label >= 0])
        share, odd = divmod(self.global_batch, len(classes))
        places = share + (odd > 0)  # each class draws so many for a batch, and lends its last to the others in turn
        number = epoch * steps + np.arange(steps)  # of the batch, over all epochs
        drawn = np.stack([self._draw(int(label), places, number) for label in classes], axis=1)
        lends = (np.arange(len(classes)) + number[:, None]) % len(classes) >= (odd or len(classes))
        kept = np.ones(drawn.shape, dtype=bool)
        kept[..., -1] = ~lends
        rows = drawn[kept].reshape(steps, self.global_batch)
        mixed = keyed_permutation(rows.size, "order in batches", self.seed, epoch).reshape(rows.shape)
        return np.take_along_axis(rows, np.argsort(mixed, axis=1), axis=1)  # ranks take slices of mixed classes

    def _draw(self, label: int, places: int, number: np.ndarray) -> np.ndarray:
        """Items of a class for the batches `number`, int64 (batches, places): permutation after permutation, of each as
        many as fill whole batches.
        """
        members = np.flatnonzero(self.label == label)
        per_round = len(members) // places
        rounds = {int(turn): members[keyed_permutation(len(members), "class order", self.seed, label, int(turn))]
                  for turn in np.unique(number // per_round)}
        return np.stack([rounds[int(batch // per_round)][batch % per_round * places :][:places] for batch in number])


@dataclass(frozen=True, eq=False)
class Grouped:
    """Training on batches made of groups: `group` items of one study each. Groups are formed and shuffled anew each
    epoch; what a study has over whole groups is left out of it.

    `study` (n,) is the code of an item's study, -1 where it is unknown: such items are left out.
    """

    study: np.ndarray
    global_batch: int
    seed: int
    group: int

    def __post_init__(self) -> None:
        if self.global_batch % self.group:
            raise InputError(f"global_batch is {self.global_batch}, which groups of {self.group} clips of a study do "
                             f"not fill; set it to a multiple of {self.group}")
        if not self.steps():
            groups = self._groups()
            lower = f"lower global_batch to at most {groups * self.group}, or " if groups else ""
            raise InputError(f"global_batch is {self.global_batch}, and the studies of the training split make "
                             f"{groups} groups of {self.group}; {lower}take smaller groups")

    def steps(self) -> int:
        """See `Order`."""
        return self._groups() * self.group // self.global_batch

    def _groups(self) -> int:
        return int((np.bincount(self.study[self.study >= 0]) // self.group).sum())

    def epoch(self, epoch: int) -> np.ndarray:
        """See `Order`."""
        within = keyed_permutation(len(self.study), "order in studies", self.seed, epoch)
        within = within[self.study[within] >= 0]
        by_study = within[np.argsort(self.study[within], kind="stable")]
        sizes = np.bincount(self.study[by_study])
        place = np.arange(len(by_study)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        whole = place < np.repeat(sizes // self.group * self.group, sizes)
        groups = by_study[whole].reshape(-1, self.group)
        shuffled = groups[keyed_permutation(len(groups), "group order", self.seed, epoch)]
        return _batches(shuffled.ravel(), self.global_batch)


def _batches(index: np.ndarray, global_batch: int) -> np.ndarray:
    """Whole batches (steps, global_batch); the ragged tail is dropped."""
    steps = len(index) // global_batch
    return index[: steps * global_batch].reshape(steps, global_batch)


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
