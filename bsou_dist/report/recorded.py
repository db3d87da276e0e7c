"""The records behind one row of a table: one method, or who sees no picture, on one task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bsou_dist.evaluation.evaluate import AGE_ONLY_PREFIX, BASELINE_PREFIX
from bsou_dist.evaluation.intervals import NOT_ESTIMABLE
from bsou_dist.evaluation.reference import INTENSITY_ONLY

ABSENT = "–"
REFERENCES = {
    f"{INTENSITY_ONLY}_": "intensity only",
    AGE_ONLY_PREFIX: "GA only",
    BASELINE_PREFIX: "median / majority",
}
"""Rows of those that see no picture, by what their metrics begin with; below the methods."""

Cell = tuple[str, ...]
"""Lines of one cell of a table."""


@dataclass(frozen=True)
class Recorded:
    """Records of one task, set and method at the level that tables show, by metric."""

    by_metric: dict[str, Any]
    """Rows of the records as named tuples; of several methods, those of the first."""
    prefix: str = ""
    """One of `REFERENCES`, to look up the figures of who sees no picture."""

    @classmethod
    def find(cls, records: pd.DataFrame, task: str, prefix: str = "") -> Recorded:
        """Find a task's records; those per exam where there are both, per clip and per exam."""
        of_task = records[records["task"].eq(task)]
        per_exam = of_task["level"].eq("exam")
        if per_exam.any():
            of_task = of_task[per_exam]
        by_metric: dict[str, Any] = {}
        for row in of_task.itertuples(index=False):
            by_metric.setdefault(str(row.metric), row)
        return cls(by_metric, prefix)

    @property
    def is_reference(self) -> bool:
        """Whether the figures are those of who sees no picture."""
        return bool(self.prefix)

    def figure(self, metric: str) -> Any | None:
        """The record of a metric; None where there is none."""
        return self.by_metric.get(self.prefix + metric)

    def count(self, metric: str) -> Any | None:
        """The record of a count, which references share with the method."""
        return self.by_metric.get(metric)

    def cell(self, metric: str, write: Callable[[float], str]) -> Cell:
        """The value of a metric with its interval below it.

        Where it was asked for and is undefined, such as the predictive value of who calls none
        positive, the cell says `NOT_ESTIMABLE`.
        """
        record = self.figure(metric)
        if record is None:
            return (ABSENT,)
        if pd.isna(record.value):
            return (NOT_ESTIMABLE,)
        return (write(record.value), interval_text(record, write))

    def cells(self, columns: Mapping[str, str], write: Callable[[float], str]) -> dict[str, Cell]:
        """Cells by heading of those metrics that are recorded; `columns` heads them by metric."""
        return {
            heading: self.cell(metric, write)
            for metric, heading in columns.items()
            if self.figure(metric) is not None
        }


def references_of(records: pd.DataFrame) -> dict[str, str]:
    """Rows of those that see no picture that some task has figures of, by their prefix."""
    metrics = records["metric"].astype(str)
    return {
        prefix: name for prefix, name in REFERENCES.items() if metrics.str.startswith(prefix).any()
    }


def interval_text(record: Any, write: Callable[[float], str]) -> str:
    """The 95 % interval of a record, in brackets; `NOT_ESTIMABLE` where it has no ends."""
    if pd.isna(record.low) or pd.isna(record.high):
        return NOT_ESTIMABLE
    return f"[{write(record.low)}, {write(record.high)}]"


def as_share(value: float) -> str:
    """A share in percent."""
    return f"{100 * value:.1f}"


def as_fraction(value: float) -> str:
    """A number near 1 or below."""
    return f"{value:.2f}"
