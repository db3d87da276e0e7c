"""Training on batches that hold equally many items of every class."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bsou_dist.common.errors import InputError
from bsou_dist.common.keyed_random import keyed_permutation


@dataclass(frozen=True, eq=False)
class Balanced:
    """Batches that hold equally many items of every class, to within one.

    Items without a label (-1) are left out. An epoch is as many batches as the labelled items would
    fill, so that rare classes come more than once in it, and common ones in part; over epochs all
    items of a class come about equally often. None is twice in a batch.

    `label` (n,) is the class of an item.

    Raises:
        InputError: a class with fewer items than its places in a batch.
    """

    label: np.ndarray
    global_batch: int
    seed: int

    def __post_init__(self) -> None:
        counts = np.unique(self.label[self.label >= 0], return_counts=True)[1].tolist()
        rarest = min(counts, default=0)
        places = math.ceil(self.global_batch / max(1, len(counts)))
        if rarest < places:
            raise InputError(
                f"a batch of {self.global_batch} that is balanced over {len(counts)} classes holds "
                f"{places} of each, and the rarest has {rarest} items in the training split; lower "
                f"global_batch to at most {rarest * len(counts)}, or take another order"
            )

    def steps(self) -> int:
        """See `Order`."""
        return int((self.label >= 0).sum()) // self.global_batch

    def epoch(self, epoch: int) -> np.ndarray:
        """See `Order`."""
        steps = self.steps()
        batch_numbers = epoch * steps + np.arange(steps)  # counted over all epochs
        classes = np.unique(self.label[self.label >= 0])
        places, left_over = divmod(self.global_batch, len(classes))
        if left_over:
            places += 1
        drawn = np.stack(
            [self._draw(int(label), places, batch_numbers) for label in classes], axis=1
        )  # (steps, classes, places)

        # Where the classes do not divide the batch, only `left_over` of them need their last place;
        # which ones do moves on by one with every batch.
        kept = np.ones(drawn.shape, dtype=bool)
        if left_over:
            turn = (np.arange(len(classes)) + batch_numbers[:, None]) % len(classes)
            kept[..., -1] = turn < left_over
        batches = drawn[kept].reshape(steps, self.global_batch)

        # Mixed, since ranks take slices of a batch.
        mixing = keyed_permutation(batches.size, "order in batches", self.seed, epoch)
        mixed = np.argsort(mixing.reshape(batches.shape), axis=1)
        return np.take_along_axis(batches, mixed, axis=1)

    def _draw(self, label: int, places: int, batch_numbers: np.ndarray) -> np.ndarray:
        """Items of a class for some batches, int64 (batches, places).

        They come from permutation after permutation of the class; of each, as many as fill whole
        batches.
        """
        members = np.flatnonzero(self.label == label)
        batches_per_round = len(members) // places
        rounds: dict[int, np.ndarray] = {}
        for number in np.unique(batch_numbers // batches_per_round).tolist():
            order = keyed_permutation(len(members), "class order", self.seed, label, number)
            rounds[number] = members[order]
        drawn = []
        for batch in batch_numbers.tolist():
            number, batch_in_round = divmod(batch, batches_per_round)
            first = batch_in_round * places
            drawn.append(rounds[number][first : first + places])
        return np.stack(drawn)
