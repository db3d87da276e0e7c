"""Training on several sources, each with its share of every batch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bsou_dist.common.errors import InputError
from bsou_dist.common.keyed_random import keyed_permutation


@dataclass(frozen=True, eq=False)
class Mixed:
    """Batches in which every source has its share, to within one item, whatever its size.

    An epoch is as many batches as all items would fill, so that a small source with a large share
    comes more than once in it, and a large one in part. Each source is gone through in one
    permutation after another, across epochs, so that its items come equally often; those of a
    source smaller than three times its share of a batch do so about equally. None is twice in a
    batch.

    Attributes:
        source: int64 (n,), number of each item's source.
        weights: shares of the sources by name, in the order of their numbers, relative to one
            another.

    Raises:
        InputError: a source with too few items for its share of a batch.
    """

    source: np.ndarray
    weights: dict[str, float]
    global_batch: int
    seed: int

    def __post_init__(self) -> None:
        sizes = np.bincount(self.source, minlength=len(self.weights))
        for number, (name, size) in enumerate(zip(self.weights, sizes.tolist(), strict=True)):
            most = self._most_in_a_batch[number]
            if size < most:
                share = self._shares()[number]
                raise InputError(
                    f"data.sources.{name} has {size} items to train on, and its share of a batch "
                    f"of {self.global_batch} is {share:.0%}, {most} items: lower "
                    "global_batch or its weight"
                )

    def steps(self) -> int:
        """See `Order`."""
        return len(self.source) // self.global_batch

    def epoch(self, epoch: int) -> np.ndarray:
        """See `Order`."""
        count = self.steps() * self.global_batch
        source_of = self._sources(count)
        items = np.empty(count, dtype=np.int64)
        for number in range(len(self.weights)):
            places = np.flatnonzero(source_of == number)
            members = np.flatnonzero(self.source == number)
            if len(members) < 3 * self._most_in_a_batch[number]:
                drawn = self._by_batches(number, len(members), epoch, places)
            else:
                drawn = self._in_a_row(number, len(members), epoch * len(places), len(places))
            items[places] = members[drawn]
        batches = items.reshape(-1, self.global_batch)

        # Mixed, since ranks take slices of a batch.
        mixing = keyed_permutation(count, "order in mixed batches", self.seed, epoch)
        mixed = np.argsort(mixing.reshape(batches.shape), axis=1)
        return np.take_along_axis(batches, mixed, axis=1)

    def _shares(self) -> np.ndarray:
        weights = np.array(list(self.weights.values()))
        shares: np.ndarray = weights / weights.sum()
        return shares

    def _sources(self, count: int) -> np.ndarray:
        """Number of the source at each of `count` positions, int64 (count,).

        The k-th item of a source with share s is due at (k + 1/2) / s, and they come as they are
        due, so that every stretch of positions holds each source's share, to within one.
        """
        shares = self._shares()
        most = [math.ceil(count * share) + len(shares) for share in shares]
        due = [(np.arange(items) + 0.5) / share for items, share in zip(most, shares, strict=True)]
        number = np.repeat(np.arange(len(due)), [len(times) for times in due])
        return number[np.argsort(np.concatenate(due), kind="stable")][:count]

    @cached_property
    def _most_in_a_batch(self) -> list[int]:
        """Most items of each source that a batch of an epoch holds."""
        source_of = self._sources(self.steps() * self.global_batch).reshape(-1, self.global_batch)
        numbers = range(len(self.weights))
        return [int((source_of == number).sum(axis=1).max(initial=0)) for number in numbers]

    def _by_batches(self, number: int, size: int, epoch: int, places: np.ndarray) -> np.ndarray:
        """What a small source gives to its `places` in an epoch: turns begin with a batch.

        Of a turn, every batch has as many to choose from as any may need.
        """
        most = self._most_in_a_batch[number]
        batches_of_turn = size // most
        batch_in_epoch = places // self.global_batch
        first_of_batch = np.searchsorted(batch_in_epoch, batch_in_epoch)
        turn, batch = np.divmod(epoch * self.steps() + batch_in_epoch, batches_of_turn)
        place_in_turn = batch * most + np.arange(len(places)) - first_of_batch
        drawn = np.empty(len(places), dtype=np.int64)
        for one in np.unique(turn).tolist():
            permutation = self._permutation(number, size, one)
            drawn[turn == one] = permutation[place_in_turn[turn == one]]
        return drawn

    def _in_a_row(self, number: int, size: int, first: int, count: int) -> np.ndarray:
        """The `first` .. `first + count` - 1 of all that a source gives over the epochs."""
        first_round, last_round = first // size, (first + count) // size
        rounds = [self._round(number, size, turn) for turn in range(first_round, last_round + 1)]
        start = first - first_round * size
        return np.concatenate(rounds)[start : start + count]

    def _round(self, number: int, size: int, turn: int) -> np.ndarray:
        """The permutation of a source's items for one turn through them.

        A batch may hold the end of one turn and the beginning of the next: what the turn before
        ends with changes places with items from the middle, which both ends are too far from to
        meet in a batch.
        """
        drawn = self._permutation(number, size, turn)
        if turn == 0:
            return drawn
        most = self._most_in_a_batch[number]
        ended_with = self._permutation(number, size, turn - 1)[size - most :]
        meets = np.isin(drawn, ended_with)
        early = np.flatnonzero(meets[:most])
        middle = most + np.flatnonzero(~meets[most : size - most])[: len(early)]
        drawn[early], drawn[middle] = drawn[middle], drawn[early]
        return drawn

    def _permutation(self, number: int, size: int, turn: int) -> np.ndarray:
        return keyed_permutation(size, "order in a source", self.seed, number, turn)
