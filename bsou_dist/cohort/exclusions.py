"""Exclusion flow: how many patients, studies, exams and clips are left after each exclusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import pandas as pd

AS_FOUND = "as found"


@dataclass(frozen=True)
class FlowStep:
    """Counts of what remains after a reason left clips out; the first reason is `AS_FOUND`."""

    reason: str
    patients: int
    studies: int
    exams: int
    clips: int


def flow_step(reason: str, table: pd.DataFrame) -> FlowStep:
    """Counts of a table with a row per clip; rows with an empty id count as clips alone.

    ``table`` has ``patient_id``, ``study_id`` and ``exam_id``.
    """
    return FlowStep(
        reason,
        patients=table["patient_id"].nunique(),
        studies=table["study_id"].nunique(),
        exams=table["exam_id"].nunique(),
        clips=len(table),
    )


def left_out(steps: Sequence[FlowStep]) -> dict[str, int]:
    """Clips left out by each reason that left out any, in the order of the steps."""
    return {
        after.reason: before.clips - after.clips
        for before, after in pairwise(steps)
        if after.clips < before.clips
    }


class ExclusionFlow:
    """A table that clips are left out of, step by step.

    ``table`` is what remains, and ``steps`` has an entry per reason, also where it left out none.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table
        self.steps = [flow_step(AS_FOUND, table)]

    def leave_out(self, rows: pd.Series, reason: str) -> None:
        """Drop the rows where the boolean ``rows`` (index of ``table``) holds."""
        self.table = self.table[~rows]
        self.steps.append(flow_step(reason, self.table))
