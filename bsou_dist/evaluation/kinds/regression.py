"""Numbers: how far they are off, per clip and per exam."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from bsou_dist.evaluation import metrics
from bsou_dist.evaluation.aggregate import CALIBRATION_DF, exam_predictions, recalibrate_variance
from bsou_dist.evaluation.figures import Deviation, Mean, Share
from bsou_dist.evaluation.kinds.protocol import Count, LabelledFeatures, NamedMetric
from bsou_dist.evaluation.metrics import Scored
from bsou_dist.predict.linear_models import NumberModel, fit_best
from bsou_dist.tasks.kinds.regression import RegressionTask


class RegressionEvaluation:
    """See `EvaluationKind`."""

    primary = ("mae", "abs_error_std")
    lower_is_better = True
    compared: tuple[str, ...] = ("mae",)

    def is_recalibrated(self, task: RegressionTask) -> bool:
        """See `EvaluationKind.is_recalibrated`; where clips are averaged to exam values."""
        return task.level == "clip"

    def scored(
        self, task: RegressionTask, units: pd.DataFrame, validation: pd.DataFrame | None = None
    ) -> Scored:
        """See `EvaluationKind.scored`; with variances where every row has one."""
        label = units["label"].to_numpy(float)
        prediction = units["prediction"].to_numpy(float)
        if units["variance"].isna().any():
            return Scored(label, prediction)
        variance = units["variance"].to_numpy(float)
        df = np.full(len(units), np.inf)
        if CALIBRATION_DF in units:
            df = units[CALIBRATION_DF].to_numpy(float)
        return Scored(label, prediction, variance=variance, df=df)

    def metrics(self, task: RegressionTask, units: Scored) -> list[NamedMetric]:
        """See `EvaluationKind.metrics`."""
        found = [
            NamedMetric("mae", Mean(metrics.absolute_error, positive=True)),
            # The figure after the slash in the tables of *Improved Representation Learning with
            # Multitasking in Blind Sweep Obstetric Ultrasound Videos*.
            NamedMetric("abs_error_std", Deviation(metrics.absolute_error)),
            NamedMetric("bias", Mean(metrics.error)),
            NamedMetric("error_std", Deviation(metrics.error)),
        ]
        for limit in task.within:
            name = within_name(task, limit)
            found.append(NamedMetric(name, Share(metrics.is_within(limit))))
        if units.variance is not None:
            found.append(NamedMetric("coverage_95", Share(metrics.is_covered)))
        return found

    def subgroup_metrics(self, task: RegressionTask) -> tuple[str, ...]:
        """See `EvaluationKind.subgroup_metrics`."""
        within = [within_name(task, limit) for limit in task.within]
        return ("mae", "coverage_95", "bias", *within)

    def counts(self, task: RegressionTask, units: Scored, patients: np.ndarray) -> list[Count]:
        """See `EvaluationKind.counts`; there are none."""
        return []

    def fixed(self, task: RegressionTask, units: Scored) -> dict[str, float]:
        """See `EvaluationKind.fixed`; nothing is."""
        return {}

    def constant_predictions(
        self, task: RegressionTask, units: Scored, train_labels: pd.Series
    ) -> Scored:
        """See `EvaluationKind.constant_predictions`; the median, without a variance.

        Of all constants the median has the least mean absolute error.
        """
        return Scored(units.label, np.full(len(units.label), float(train_labels.median())))

    def from_age(
        self,
        task: RegressionTask,
        units: pd.DataFrame,
        train: pd.DataFrame,
        validation: pd.DataFrame | None,
    ) -> None:
        """See `EvaluationKind.from_age`; numbers are compared with the median alone."""

    def linear_predictions(
        self,
        task: RegressionTask,
        train: LabelledFeatures,
        valid: LabelledFeatures,
        features: np.ndarray,
    ) -> pd.DataFrame:
        """See `EvaluationKind.linear_predictions`; ridge regression."""
        model = fit_best(NumberModel.fit, *train, *valid)
        return pd.DataFrame({"prediction": model.predict(features), "variance": model.variance})

    def exam_values(
        self, task: RegressionTask, units: pd.DataFrame, valid: pd.DataFrame | None
    ) -> pd.DataFrame:
        """Inverse-variance weighted means, their variance recalibrated on validation exams."""
        differs = task.differs_within_exam
        exams = exam_predictions(units, labels_differ=differs)
        if valid is None:
            return exams
        return recalibrate_variance(exam_predictions(valid, labels_differ=differs), exams)


def within_name(task: RegressionTask, limit: float) -> str:
    """Name of the share of errors up to `limit`, such as `within_7_days`."""
    # A tracker's metric names hold few signs, and a unit such as kg/m2 has others.
    unit = re.sub(r"[^A-Za-z0-9.-]+", "_", task.unit)
    return f"within_{limit:g}_{unit}"
