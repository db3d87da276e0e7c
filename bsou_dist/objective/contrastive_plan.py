"""What follows from labels alone in a contrastive loss, made on the CPU before it is needed.

Which rows of all ranks have a label, where they stand once embeddings are gathered, and which are
positives of each other. What is made here is moved to a device in one copy that nobody waits for;
made on a GPU, each part would make the CPU wait for its size.

Shapes: T tasks, N rows of this rank, R rows of all ranks, M of those R with a label for the task at
hand, L of those M on this rank.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bsou_dist.feed.side_stream import to_device
from bsou_dist.tasks.labels import MISSING_CLASS

Denominator = Literal["all_others", "without_excluded", "negatives"]
"""Which rows stand in the denominator of an anchor.

They are A_t(i) in equation 2 of [P1], which calls them both 'all others' and 'negatives': every
other row with a label; or these without the rows that share the anchor's label and are no positive
of it by another condition; or rows of other labels only.
"""


@dataclass(frozen=True)
class TaskPlan:
    """The rows that have a label for a task in which at least one row has a positive.

    Tensors are int64. Rows from `start` to `stop` of the M are this rank's.
    """

    task: int
    gathered: Tensor | None
    """Where the M rows stand in what is gathered, (ranks, T, most rows of a rank) flattened; None:
    all rows of that, in order."""
    own: Tensor | None
    """Which of the N rows the L are; None: all."""
    group: Tensor
    """(M,) of 0 .. groups-1, equal for rows that are positives of each other."""
    groups: int
    part: Tensor | None
    """(M,) of 0 .. parts-1, equal for rows of one patient in one group, which are not; None where
    only the row itself is left out."""
    parts: int
    label: Tensor | None
    """(M,), equal for rows of one label; None where the denominator holds all others."""
    start: int
    stop: int

    def rows_of(self, values: Tensor) -> Tensor:
        """The labelled rows (M, ...) of this task out of values (ranks, T, most rows, ...)."""
        if self.gathered is None:
            return values[:, self.task].flatten(0, 1)
        return values.flatten(0, 2)[self.gathered]

    def put_own(self, rows: Tensor, values: Tensor) -> None:
        """Write values (L, ...) to where they belong in rows (N, ...)."""
        if self.own is None:
            rows.copy_(values)
        else:
            rows[self.own] = values


@dataclass(frozen=True)
class Plan:
    """What a contrastive loss needs to know of the labels of a global batch."""

    counts: list[int]
    """Rows of each rank."""
    rank: int
    task_count: int
    """T."""
    tasks: list[TaskPlan]
    """Those in which at least one row has a positive."""
    denominator: Denominator

    def to(self, device: str | torch.device) -> Plan:
        """The same with tensors on a device, in one copy."""
        names = ("gathered", "own", "group", "part", "label")
        found = [getattr(task, name) for task in self.tasks for name in names]
        there = [tensor for tensor in found if tensor is not None]
        if not there:
            return self
        packed = to_device(torch.cat(there), str(device))
        tensors = iter(packed.split([len(tensor) for tensor in there]))
        tasks = []
        for task in self.tasks:
            moved = {name: next(tensors) for name in names if getattr(task, name) is not None}
            tasks.append(TaskPlan(**{**vars(task), **moved}))
        return replace(self, tasks=tasks)


def make_plan(
    labels: np.ndarray,
    counts: list[int],
    rank: int,
    *,
    sweep: np.ndarray | None = None,
    subject: np.ndarray | None = None,
    denominator: Denominator = "all_others",
) -> Plan:
    """The plan of a global batch.

    Args:
        labels: (T, R) int64 of all ranks' rows in rank order, -1 where missing.
        counts: rows of each rank, which sum to R.
        rank: this one.
        sweep: (R,) int64; if given, a positive must have the same sweep, and -1 matches nothing.
        subject: (R,) int64; if given, a positive must come from another patient.
        denominator: which rows an anchor is compared with.
    """
    owner = np.repeat(np.arange(len(counts)), counts)
    starts = np.array([0, *accumulate(counts)])
    place = np.arange(len(owner)) - starts[owner]
    most, task_count = max(counts), len(labels)
    even = max(counts) == min(counts)
    tasks = []
    for task, label in enumerate(labels):
        rows = np.flatnonzero(label != MISSING_CLASS)
        group, groups = _numbered(label[rows])
        if sweep is not None:
            group, groups = _with_sweep(group, sweep[rows])
        part, parts = None, 0
        if subject is not None:
            subjects, known = _numbered(subject[rows])
            part, parts = _numbered(group * known + subjects)
        if not _any_positive(group, part):
            continue
        first, last = np.searchsorted(rows, starts[[rank, rank + 1]]).tolist()
        gathered = (owner[rows] * task_count + task) * most + place[rows]
        own = rows[first:last] - starts[rank]
        tasks.append(
            TaskPlan(
                task=task,
                gathered=None if even and len(rows) == len(label) else torch.from_numpy(gathered),
                own=None if len(own) == counts[rank] else torch.from_numpy(own),
                group=torch.from_numpy(group),
                groups=groups,
                part=None if part is None else torch.from_numpy(part),
                parts=parts,
                label=None if denominator == "all_others" else torch.from_numpy(label[rows]),
                start=first,
                stop=last,
            )
        )
    return Plan(counts, rank, task_count, tasks, denominator)


def _with_sweep(group: np.ndarray, sweep: np.ndarray) -> tuple[np.ndarray, int]:
    """Groups of rows that have the same sweep as well, and how many; no sweep: alone in a group."""
    sweeps, known = _numbered(sweep)
    together = group * known + sweeps
    alone = -1 - np.arange(len(group))
    return _numbered(np.where(sweep < 0, alone, together))


def _any_positive(group: np.ndarray, part: np.ndarray | None) -> bool:
    """Whether any row has one: a group is more than one row, or one part."""
    distinct_groups = len(np.unique(group))
    alike = len(group) if part is None else len(np.unique(part))
    return alike > distinct_groups


def _numbered(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Values as 0 .. K-1, and K."""
    distinct, number = np.unique(values, return_inverse=True)
    return number.astype(np.int64), len(distinct)
