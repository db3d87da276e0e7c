"""Training on batches made of groups from one study."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bsou_dist.common.errors import InputError
from bsou_dist.common.keyed_random import keyed_permutation
from bsou_dist.feed.order.protocol import whole_batches


@dataclass(frozen=True, eq=False)
class Grouped:
    """Training on batches made of groups: `group` items of one study each. Groups are formed and
    shuffled anew each epoch; what a study has over whole groups is left out of it.

    `study` (n,) is the code of an item's study, -1 where it is unknown: such items are left out.
    """

    study: np.ndarray
    global_batch: int
    seed: int
    group: int

    def __post_init__(self) -> None:
        if self.global_batch % self.group:
            raise InputError(
                f"global_batch is {self.global_batch}, which groups of {self.group} clips of a "
                "study do "
                f"not fill; set it to a multiple of {self.group}"
            )
        if not self.steps():
            groups = self._groups()
            lower = f"lower global_batch to at most {groups * self.group}, or " if groups else ""
            raise InputError(
                f"global_batch is {self.global_batch}, and the studies of the training split make "
                f"{groups} groups of {self.group}; {lower}take smaller groups"
            )

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
        return whole_batches(shuffled.ravel(), self.global_batch)
