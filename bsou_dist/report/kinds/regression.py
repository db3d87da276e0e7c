"""The looks of numbers in a unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from bsou_dist.evaluation.kinds.regression import within_name
from bsou_dist.evaluation.metrics import Scored
from bsou_dist.report.plots import regression_png
from bsou_dist.report.recorded import Cell, Recorded, as_share
from bsou_dist.tasks.kinds.regression import RegressionTask

_ERRORS = "Values: bias, and how many are near enough"


class RegressionReport:
    """See `ReportKind`."""

    legend = "Values: mean absolute error / standard deviation of the absolute error."
    details_legends: ClassVar[Mapping[str, str]] = {
        _ERRORS: (
            "bias: mean of prediction minus label, and SD the standard deviation of that error, in "
            "the task's unit. within: share of units, in %, that are no further off. coverage: "
            "share of labels, in %, that lie in the predicted 95 % interval."
        )
    }

    def heading(self, task: RegressionTask) -> str:
        """See `ReportKind.heading`."""
        return f"{task.name} ({task.unit}) ↓"

    def figure(self, task: RegressionTask, value: float) -> str:
        """See `ReportKind.figure`; in the task's unit."""
        return f"{value:.{task.decimals}f}"

    def counts(self, task: RegressionTask, recorded: Recorded) -> list[str]:
        """See `ReportKind.counts`; there are none."""
        return []

    def details(self, task: RegressionTask, recorded: Recorded) -> dict[str, dict[str, Cell]]:
        """See `ReportKind.details`."""

        def in_unit(value: float) -> str:
            return self.figure(task, value)

        within = {
            within_name(task, limit): f"within {limit:g} {task.unit} ↑" for limit in task.within
        }
        cells = {
            **recorded.cells({"bias": "bias", "error_std": "SD ↓"}, in_unit),
            **recorded.cells({**within, "coverage_95": "coverage"}, as_share),
        }
        return {_ERRORS: cells} if cells else {}

    def metric_name(self, task: RegressionTask, metric: str) -> str:
        """See `ReportKind.metric_name`."""
        names = {within_name(task, limit): f"within {limit:g} {task.unit}" for limit in task.within}
        names["mae"] = f"mean absolute error ({task.unit})"
        names["bias"] = f"bias ({task.unit})"
        names["coverage_95"] = "in the 95 % interval"
        return names.get(metric, metric)

    def plots(self, task: RegressionTask, units: Scored, level: str) -> dict[str, bytes]:
        """See `ReportKind.plots`; clips are averaged over their exam, which alone is drawn."""
        if level != "exam":
            return {}
        picture = regression_png(units.label, units.prediction, task.unit)
        return {"predictions and errors": picture}
