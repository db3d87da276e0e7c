"""Numbers: how far they are off, per clip and per exam."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from bsou_dist.evaluation import metrics
from bsou_dist.evaluation.aggregate import exam_predictions, recalibrate_variance
from bsou_dist.evaluation.kinds.protocol import NamedMetric
from bsou_dist.evaluation.metrics import Scored
from bsou_dist.tasks.kinds.regression import RegressionTask


class RegressionEvaluation:
    """See `EvaluationKind`."""

    primary = ("mae", "abs_error_std")
    lower_is_better = True

    def scored(self, task: RegressionTask, units: pd.DataFrame) -> Scored:
        """See `EvaluationKind.scored`; with variances where every row has one."""
        label = units["label"].to_numpy(float)
        prediction = units["prediction"].to_numpy(float)
        variance = units["variance"].to_numpy(float) if units["variance"].notna().all() else None
        return Scored(label, prediction, variance=variance)

    def metrics(self, task: RegressionTask, units: Scored) -> list[NamedMetric]:
        """See `EvaluationKind.metrics`."""
        found = [
            NamedMetric("mae", metrics.mae),
            NamedMetric("abs_error_std", metrics.abs_error_std),
            NamedMetric("bias", metrics.bias),
            NamedMetric("error_std", metrics.error_std),
        ]
        for limit in task.within:
            # A tracker's metric names hold few signs, and a unit such as kg/m2 has others.
            unit = re.sub(r"[^A-Za-z0-9.-]+", "_", task.unit)
            name = f"within_{limit:g}_{unit}"
            found.append(NamedMetric(name, metrics.within(limit), is_share=True))
        if units.variance is not None:
            found.append(NamedMetric("coverage_95", metrics.coverage_95, is_share=True))
        return found

    def constant(self, task: RegressionTask, train_labels: pd.Series) -> float:
        """Mean of the training labels, in the task's unit."""
        return float(train_labels.mean())

    def predict_constant(self, task: RegressionTask, units: Scored, constant: float) -> Scored:
        """See `EvaluationKind.predict_constant`; without a variance."""
        return Scored(units.label, np.full(len(units.label), constant))

    def exam_values(
        self, task: RegressionTask, units: pd.DataFrame, valid: pd.DataFrame | None
    ) -> pd.DataFrame:
        """Inverse-variance weighted means, their variance recalibrated on validation exams."""
        differs = task.differs_within_exam
        exams = exam_predictions(units, labels_differ=differs)
        if valid is None:
            return exams
        return recalibrate_variance(exam_predictions(valid, labels_differ=differs), exams)
