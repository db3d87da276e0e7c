"""The positives of the rows that have a label, counted and summed without a matrix of all pairs.

The positives of a row are the rows of its group (same label, or same label and sweep) without those
of its own patient, or without itself. Their scores sum to z_i.(sum of their z) / tau, and the sums
of all groups cost M x D. Shapes: M labelled rows of all ranks, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

TILE_ROWS = {"cpu": 512, "cuda": 8192}
"""Rows that are worked on at once, the side of a tile of scores at most.

Enough for matrix products at full speed, few enough that a tile is small beside M x D.
"""


@dataclass(frozen=True)
class PositiveSets:
    """The positives of every row: the rows of its group, without those of its part of the group."""

    there: Tensor
    """(M,) bool: rows that count; the others neither have positives nor are any."""
    group: Tensor
    """(M,) int64 of 0 .. groups-1, equal for rows that are positives of each other."""
    groups: int
    part: Tensor | None
    """(M,) int64 of 0 .. parts-1, equal for rows of one patient in one group, which are not; None
    where only the row itself is left out."""
    parts: int

    def between(self, rows: slice, columns: slice) -> Tensor:
        """Which pairs of two rows are positives of each other, bool, but for a row with itself."""
        alike = self.group[rows, None] == self.group[columns]
        if self.part is not None:
            alike &= self.part[rows, None] != self.part[columns]
        return alike

    def counts(self) -> Tensor:
        """Number of positives of every row, (M,) int64."""
        of_group = _count_by(self.group, self.groups, self.there)
        left_out: Tensor | int = 1
        if self.part is not None:
            left_out = _count_by(self.part, self.parts, self.there)
        return torch.where(self.there, of_group - left_out, 0)

    def sums(self, z: Tensor, weight: Tensor) -> Callable[[slice], Tensor]:
        """A function from a slice of rows to the sum of weight z over the positives of each.

        z (M, D), 0 for rows that are not there; weight (M,). The sums are (rows of the slice, D).
        """
        group_sums = _sums_by(self.group, self.groups, z, weight)
        part_sums = None if self.part is None else _sums_by(self.part, self.parts, z, weight)

        def of_rows(rows: slice) -> Tensor:
            total = group_sums[self.group[rows]]
            if self.part is None or part_sums is None:
                total -= z[rows] * weight[rows, None]
            else:
                total -= part_sums[self.part[rows]]
            return total

        return of_rows


def tiles(start: int, stop: int, side: int) -> list[slice]:
    """Slices of at most `side` rows from `start` to `stop`."""
    return [slice(first, min(first + side, stop)) for first in range(start, stop, side)]


def _count_by(number: Tensor, count: int, there: Tensor) -> Tensor:
    """Of every row, how many rows that are there have its number, (M,) int64."""
    return number.new_zeros(count).index_add_(0, number, there.long())[number]


def _sums_by(number: Tensor, count: int, z: Tensor, weight: Tensor) -> Tensor:
    """Sums of weight z by number, (count, D), in pieces that need no copy of z."""
    sums = z.new_zeros(count, z.shape[1])
    for rows in tiles(0, len(z), TILE_ROWS[z.device.type]):
        sums.index_add_(0, number[rows], z[rows] * weight[rows, None])
    return sums
