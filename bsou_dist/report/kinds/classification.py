"""The looks of classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from bsou_dist.evaluation.calibration import calibration_curve
from bsou_dist.evaluation.metrics import Scored, confusion_matrix
from bsou_dist.report.plots import calibration_png, confusion_png
from bsou_dist.report.recorded import Cell, Recorded, as_fraction, as_share
from bsou_dist.tasks.kinds.classification import ClassificationTask

_FOUND = "Classes: what is found"
_PROBABILITIES = "Classes: what probabilities are worth"
_SHARES = {
    "sensitivity": "sensitivity ↑",
    "specificity": "specificity ↑",
    "ppv": "PPV ↑",
    "npv": "NPV ↑",
    "balanced_accuracy": "balanced ↑",
}
_FRACTIONS = {
    "auc": "AUC ↑",
    "pr_auc": "PR-AUC ↑",
    "brier": "Brier ↓",
    "calibration_slope": "slope",
    "calibration_intercept": "intercept",
}


class ClassificationReport:
    """See `ReportKind`."""

    legend = "Classes: accuracy / macro-F1 in %."
    details_legends: ClassVar[Mapping[str, str]] = {
        _FOUND: (
            "positives: units of the class that is looked for / all, and patients. Sensitivity, "
            "specificity, predictive values (PPV, NPV) and balanced accuracy, in %, at the "
            "threshold that the validation split fixed (0.50 for the constant, and where "
            "validation lacks a class)."
        ),
        _PROBABILITIES: (
            "PR-AUC: average precision, which by chance is the share of positives. Brier: mean "
            "squared error, lower is better. Slope of calibration: 1 is right, below it "
            "predictions are too extreme; intercept: 0 is right, above it positives are more "
            "frequent than predicted."
        ),
    }

    def heading(self, task: ClassificationTask) -> str:
        """See `ReportKind.heading`."""
        return f"{task.name} (%) ↑"

    def figure(self, task: ClassificationTask, value: float) -> str:
        """See `ReportKind.figure`; a share in percent."""
        return as_share(value)

    def counts(self, task: ClassificationTask, recorded: Recorded) -> list[str]:
        """See `ReportKind.counts`; the units and patients of the positive class."""
        positive = task.positive_class
        record = recorded.count(f"class_{positive}")
        if record is None or positive is None:
            return []
        return [f"{task.classes[positive]} {record.value:.0f}/{record.n_patients}"]

    def details(self, task: ClassificationTask, recorded: Recorded) -> dict[str, dict[str, Cell]]:
        """See `ReportKind.details`."""
        tables = {
            _FOUND: {**self._positives(task, recorded), **recorded.cells(_SHARES, as_share)},
            _PROBABILITIES: recorded.cells(_FRACTIONS, as_fraction),
        }
        return {heading: cells for heading, cells in tables.items() if cells}

    def _positives(self, task: ClassificationTask, recorded: Recorded) -> dict[str, Cell]:
        """How many there are to be found, and at which threshold they are looked for."""
        positive = recorded.count(f"class_{task.positive_class}")
        accuracy = recorded.figure("accuracy")
        if positive is None or accuracy is None:
            return {}
        cells: dict[str, Cell] = {
            "positives": (
                f"{positive.value:.0f}/{accuracy.n}",
                f"{positive.n_patients}/{accuracy.n_patients} patients",
            )
        }
        threshold = recorded.count("threshold")
        if threshold is not None and not recorded.is_reference:
            cells["threshold"] = (as_fraction(threshold.value),)
        return cells

    def metric_name(self, task: ClassificationTask, metric: str) -> str:
        """See `ReportKind.metric_name`."""
        return "AUC" if metric == "auc" else metric

    def plots(self, task: ClassificationTask, units: Scored, level: str) -> dict[str, bytes]:
        """See `ReportKind.plots`; the confusion matrix and the calibration curve.

        The curve is that of the positive class; with more than two classes every class's
        probability of every unit counts.
        """
        matrix = confusion_matrix(units.label, units.prediction, task.class_count)
        pictures = {"labels and predictions": confusion_png(matrix, task.classes)}
        if units.probabilities is None:
            return pictures
        outcomes = units.label[:, None] == np.arange(task.class_count)
        positive = task.positive_class
        of_what = "any class"
        probabilities = units.probabilities
        if positive is not None:
            outcomes, probabilities = outcomes[:, [positive]], probabilities[:, [positive]]
            of_what = task.classes[positive]
        points = calibration_curve(outcomes.ravel(), probabilities.ravel())
        curve = calibration_png(points, probabilities.ravel(), of_what)
        return {**pictures, "calibration; intervals as of independent units": curve}
