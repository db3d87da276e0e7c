"""The exclusion flow: how many patients, studies, exams and clips are left after each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import pandas as pd

AS_FOUND = "as found"


@dataclass(frozen=True)
class FlowStep:
    """Why clips were left out, and what remains after that. The first step is ``AS_FOUND``."""

    reason: str
    patients: int
    studies: int
    exams: int
    clips: int


def flow_step(reason: str, table: pd.DataFrame) -> FlowStep:
    """Counts of a table with ``patient_id``, ``study_id`` and ``exam_id``, a row per clip; empty
    ids count nothing.
    """
    return FlowStep(
        reason,
        table["patient_id"].nunique(),
        table["study_id"].nunique(),
        table["exam_id"].nunique(),
        len(table),
    )


def left_out(steps: Sequence[FlowStep]) -> dict[str, int]:
    """Clips by the reason that they were left out for, in the order of the steps; no reason that
    none was.
    """
    return {
        step.reason: before.clips - step.clips
        for before, step in pairwise(steps)
        if step.clips < before.clips
    }


class Flow:
    """A table that clips are left out of, step by step. ``steps`` has one entry per reason, also
    where none was.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table
        self.steps = [flow_step(AS_FOUND, table)]

    def leave_out(self, rows: pd.Series, reason: str) -> None:
        """Drop the rows where the boolean ``rows`` (index of ``table``) holds."""
        self.table = self.table[~rows]
        self.steps.append(flow_step(reason, self.table))
