"""What a kind of task tells a table and a report."""

from __future__ import annotations

from typing import Any, Protocol

from bsou_dist.evaluation.metrics import Scored


class ReportKind(Protocol):
    """The looks of one kind of task. `task` is always a task of that kind."""

    legend: str
    """One sentence under a table: what the two figures of a cell are."""

    def heading(self, task: Any) -> str:
        """The task's name over its column, with the unit and the direction of good."""

    def figure(self, task: Any, value: float) -> str:
        """A primary figure, such as an accuracy or an error, as text."""

    def plot(self, task: Any, units: Scored, level: str) -> bytes | None:
        """A picture of labels and predictions as PNG; None for a level that is not drawn."""
