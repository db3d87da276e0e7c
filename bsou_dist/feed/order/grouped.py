"""Training on batches made of groups from one study."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bsou_dist.common.errors import InputError
from bsou_dist.common.keyed_random import keyed_permutation
from bsou_dist.feed.order.protocol import whole_batches


@dataclass(frozen=True, eq=False)
class Grouped:
    """Groups of `group` items of one study each, formed and shuffled anew each epoch.

    What a study has over whole groups is left out of an epoch. `study` (n,) is the code of an
    item's study, -1 where it is unknown: such items are left out.

    Raises:
        InputError: a batch that groups do not fill, or too few groups for a batch.
    """

    study: np.ndarray
    global_batch: int
    seed: int
    group: int

    def __post_init__(self) -> None:
        if self.global_batch % self.group:
            raise InputError(
                f"global_batch is {self.global_batch}, which groups of {self.group} clips of a "
                f"study do not fill; set it to a multiple of {self.group}"
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
        """Whole groups of all studies."""
        study_sizes = np.bincount(self.study[self.study >= 0])
        return int((study_sizes // self.group).sum())

    def epoch(self, epoch: int) -> np.ndarray:
        """See `Order`."""
        shuffled = keyed_permutation(len(self.study), "order in studies", self.seed, epoch)
        shuffled = shuffled[self.study[shuffled] >= 0]
        # A stable sort by study leaves the items of a study shuffled.
        by_study = shuffled[np.argsort(self.study[shuffled], kind="stable")]

        study_sizes = np.bincount(self.study[by_study])
        study_starts = np.cumsum(study_sizes) - study_sizes
        place_in_study = np.arange(len(by_study)) - np.repeat(study_starts, study_sizes)
        in_whole_groups = study_sizes // self.group * self.group
        kept = by_study[place_in_study < np.repeat(in_whole_groups, study_sizes)]

        groups = kept.reshape(-1, self.group)
        turn = keyed_permutation(len(groups), "group order", self.seed, epoch)
        return whole_batches(groups[turn].ravel(), self.global_batch)
