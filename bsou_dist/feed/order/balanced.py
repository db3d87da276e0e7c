"""Training on batches that hold equally many items of every class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bsou_dist.common.errors import InputError
from bsou_dist.common.keyed_random import keyed_permutation


@dataclass(frozen=True, eq=False)
class Balanced:
    """Training on batches that hold equally many items of every class, to within one; items without
    a label (-1) are left out. An epoch is as many batches as the labelled items would fill, so that
    rare classes come more than once in it, and common ones in part; over epochs all items of a
    class come about equally often. None is twice in a batch.

    `label` (n,) is the class of an item.
    """

    label: np.ndarray
    global_batch: int
    seed: int

    def __post_init__(self) -> None:
        counts = np.unique(self.label[self.label >= 0], return_counts=True)[1].tolist()
        rarest, places = min(counts, default=0), -(-self.global_batch // max(1, len(counts)))
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
        steps, classes = self.steps(), np.unique(self.label[self.label >= 0])
        share, odd = divmod(self.global_batch, len(classes))
        places = share + (
            odd > 0
        )  # each class draws so many for a batch, and lends its last to the others in turn
        number = epoch * steps + np.arange(steps)  # of the batch, over all epochs
        drawn = np.stack([self._draw(int(label), places, number) for label in classes], axis=1)
        lends = (np.arange(len(classes)) + number[:, None]) % len(classes) >= (odd or len(classes))
        kept = np.ones(drawn.shape, dtype=bool)
        kept[..., -1] = ~lends
        rows = drawn[kept].reshape(steps, self.global_batch)
        mixed = keyed_permutation(rows.size, "order in batches", self.seed, epoch).reshape(
            rows.shape
        )
        return np.take_along_axis(
            rows, np.argsort(mixed, axis=1), axis=1
        )  # ranks take slices of mixed classes

    def _draw(self, label: int, places: int, number: np.ndarray) -> np.ndarray:
        """Items of a class for the batches `number`, int64 (batches, places): permutation after
        permutation, of each as many as fill whole batches.
        """
        members = np.flatnonzero(self.label == label)
        per_round = len(members) // places
        rounds = {
            int(turn): members[
                keyed_permutation(len(members), "class order", self.seed, label, int(turn))
            ]
            for turn in np.unique(number // per_round)
        }
        return np.stack(
            [
                rounds[int(batch // per_round)][batch % per_round * places :][:places]
                for batch in number
            ]
        )
