"""The looks of classes."""

from __future__ import annotations

from bsou_dist.evaluation.metrics import Scored, confusion_matrix
from bsou_dist.report.plots import confusion_png
from bsou_dist.tasks.kinds.classification import ClassificationTask


class ClassificationReport:
    """See `ReportKind`."""

    legend = "Classes: accuracy / macro-F1 in %."

    def heading(self, task: ClassificationTask) -> str:
        """See `ReportKind.heading`."""
        return f"{task.name} (%) ↑"

    def figure(self, task: ClassificationTask, value: float) -> str:
        """See `ReportKind.figure`; a share in percent."""
        return f"{100 * value:.1f}"

    def plot(self, task: ClassificationTask, units: Scored, level: str) -> bytes:
        """See `ReportKind.plot`; the confusion matrix."""
        matrix = confusion_matrix(units.label, units.prediction, task.class_count)
        return confusion_png(matrix, task.classes)
