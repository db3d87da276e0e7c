"""The looks that belong to a task, by the name of its kind."""

from __future__ import annotations

from collections.abc import Iterable

from bsou_dist.report.kinds.classification import ClassificationReport
from bsou_dist.report.kinds.protocol import ReportKind
from bsou_dist.report.kinds.regression import RegressionReport
from bsou_dist.tasks.task import Task

REPORTS: dict[str, ReportKind] = {
    "classification": ClassificationReport(),
    "regression": RegressionReport(),
}


def report_of(task: Task) -> ReportKind:
    """The looks of the task's kind."""
    return REPORTS[task.kind]


def legend_of(tasks: Iterable[Task]) -> str:
    """What the figures in the cells of these tasks are, a sentence for each kind."""
    kinds = {task.kind for task in tasks}
    return " ".join(report.legend for kind, report in REPORTS.items() if kind in kinds)
