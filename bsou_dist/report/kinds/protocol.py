"""What a kind of task tells a table and a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from bsou_dist.evaluation.metrics import Scored
from bsou_dist.report.recorded import Cell, Recorded


class ReportKind(Protocol):
    """The looks of one kind of task. `task` is always a task of that kind."""

    legend: str
    """One sentence under a table: what the two figures of a cell are."""

    details_legends: ClassVar[Mapping[str, str]]
    """Tables of what stands behind the two figures: their headings, with the sentences under each.
    """

    def heading(self, task: Any) -> str:
        """The task's name over its column, with the unit and the direction of good."""

    def figure(self, task: Any, value: float) -> str:
        """A primary figure, such as an accuracy or an error, as text."""

    def counts(self, task: Any, recorded: Recorded) -> list[str]:
        """Lines of a cell below the number of units, such as how many are of the rare class."""

    def details(self, task: Any, recorded: Recorded) -> dict[str, dict[str, Cell]]:
        """Cells by the heading of their table, of `details_legends`, and that of their column.

        A table or a column that has nothing to say of a task is left out.
        """

    def metric_name(self, task: Any, metric: str) -> str:
        """A metric in words, with its unit, over a picture or a column."""

    def plots(self, task: Any, units: Scored, level: str) -> dict[str, bytes]:
        """Pictures of labels and predictions as PNG, by what they show.

        There are none for a level that is not drawn.
        """
