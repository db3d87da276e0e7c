"""The looks of numbers in a unit."""

from __future__ import annotations

from bsou_dist.evaluation.metrics import Scored
from bsou_dist.report.plots import regression_png
from bsou_dist.tasks.kinds.regression import RegressionTask


class RegressionReport:
    """See `ReportKind`."""

    legend = "Values: mean absolute error / standard deviation of the absolute error."

    def heading(self, task: RegressionTask) -> str:
        """See `ReportKind.heading`."""
        return f"{task.name} ({task.unit}) ↓"

    def figure(self, task: RegressionTask, value: float) -> str:
        """See `ReportKind.figure`; in the task's unit."""
        return f"{value:.{task.decimals}f}"

    def plot(self, task: RegressionTask, units: Scored, level: str) -> bytes | None:
        """See `ReportKind.plot`; clips are averaged over their exam, which alone is drawn."""
        if level != "exam":
            return None
        return regression_png(units.label, units.prediction, task.unit)
