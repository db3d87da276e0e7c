"""Classes: how often they are right."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from bsou_dist.evaluation import binary, calibration, metrics
from bsou_dist.evaluation.age_only import class_probabilities_by_age
from bsou_dist.evaluation.aggregate import AGE_COLUMN, exam_classes
from bsou_dist.evaluation.figures import Area, Mean, Share, Weighted
from bsou_dist.evaluation.kinds.protocol import Count, LabelledFeatures, NamedMetric
from bsou_dist.evaluation.metrics import Scored
from bsou_dist.predict.linear_models import ClassModel, fit_best
from bsou_dist.tasks.kinds.classification import ClassificationTask


class ClassificationEvaluation:
    """See `EvaluationKind`."""

    primary = ("accuracy", "macro_f1")
    lower_is_better = False
    compared: tuple[str, ...] = ("accuracy", "auc")

    def is_recalibrated(self, task: ClassificationTask) -> bool:
        """See `EvaluationKind.is_recalibrated`."""
        return False

    def scored(
        self, task: ClassificationTask, units: pd.DataFrame, validation: pd.DataFrame | None = None
    ) -> Scored:
        """See `EvaluationKind.scored`.

        With probabilities where every row has them, and of two classes with the threshold of
        `fix_threshold`.
        """
        label = units["label"].to_numpy(float)
        prediction = units["prediction"].to_numpy(float)
        probabilities = _probabilities(units)
        threshold = fix_threshold(task, validation)
        if threshold is None:
            return Scored(label, prediction, probabilities)
        return Scored(label, prediction, probabilities, threshold=threshold)

    def metrics(self, task: ClassificationTask, units: Scored) -> list[NamedMetric]:
        """See `EvaluationKind.metrics`.

        Where there are two classes, sensitivity, specificity, predictive values and balanced
        accuracy are those at the units' threshold.
        """
        found = [
            NamedMetric("accuracy", Share(metrics.is_right)),
            NamedMetric(
                "macro_f1",
                Weighted(metrics.macro_f1, metrics.macro_f1_independent_n, by_class=True),
            ),
        ]
        if units.probabilities is None:
            return found
        positive = task.positive_class
        found.append(NamedMetric("auc", Area()))
        found.append(NamedMetric("brier", Mean(calibration.brier(positive), positive=True)))
        if positive is None:
            return found
        # A mean over the two classes, as is macro-F1.
        balanced = Weighted(
            binary.balanced_accuracy(positive), metrics.macro_f1_independent_n, by_class=True
        )
        precision = Weighted(
            binary.average_precision(positive), binary.count_of(positive), by_class=True
        )
        return [
            *found,
            NamedMetric("sensitivity", Share(binary.is_found(positive))),
            NamedMetric("specificity", Share(binary.is_spared(positive))),
            NamedMetric("ppv", Share(binary.is_rightly_called(positive))),
            NamedMetric("npv", Share(binary.is_rightly_spared(positive))),
            NamedMetric("balanced_accuracy", balanced),
            NamedMetric("pr_auc", precision),
            NamedMetric("calibration_slope", calibration.Slope(positive)),
            NamedMetric("calibration_intercept", calibration.Intercept(positive)),
        ]

    def subgroup_metrics(self, task: ClassificationTask) -> tuple[str, ...]:
        """See `EvaluationKind.subgroup_metrics`."""
        return ("accuracy", "auc", "sensitivity", "specificity")

    def counts(self, task: ClassificationTask, units: Scored, patients: np.ndarray) -> list[Count]:
        """See `EvaluationKind.counts`; how many units and patients each class has.

        Classes are named by their number, from 0, since a tracker's names hold few signs.
        """
        found = []
        for index in range(task.class_count):
            of_class = units.label == index
            names = np.unique(patients[of_class])
            found.append(Count(f"class_{index}", int(of_class.sum()), len(names)))
        return found

    def fixed(self, task: ClassificationTask, units: Scored) -> dict[str, float]:
        """See `EvaluationKind.fixed`; the threshold between two classes."""
        if task.positive_class is None or units.probabilities is None:
            return {}
        return {"threshold": units.threshold}

    def constant_predictions(
        self, task: ClassificationTask, units: Scored, train_labels: pd.Series
    ) -> Scored:
        """See `EvaluationKind.constant_predictions`.

        The class is the majority's (the first of two that are equally frequent), and probabilities
        are the classes' shares of the training labels, which no constant beats by its Brier score.
        """
        count = len(units.label)
        majority = float(train_labels.mode().min())
        frequencies = np.bincount(train_labels.astype(int), minlength=task.class_count)
        shares = frequencies / len(train_labels)
        return Scored(units.label, np.full(count, majority), np.tile(shares, (count, 1)))

    def from_age(
        self,
        task: ClassificationTask,
        units: pd.DataFrame,
        train: pd.DataFrame,
        validation: pd.DataFrame | None,
    ) -> Scored | None:
        """See `EvaluationKind.from_age`; a logistic regression, with a threshold of its own."""
        if task.label == AGE_COLUMN or task.differs_within_exam:
            return None

        def predicted(rows: pd.DataFrame) -> pd.DataFrame | None:
            probabilities = class_probabilities_by_age(
                train[AGE_COLUMN].to_numpy(float),
                train["label"].to_numpy(float),
                rows[AGE_COLUMN].to_numpy(float),
                task.class_count,
            )
            if probabilities is None:
                return None
            prediction = probabilities.argmax(axis=1).astype(float)
            return rows.assign(prediction=prediction, probabilities=list(probabilities))

        of_units = predicted(units)
        if of_units is None:
            return None
        return self.scored(task, of_units, None if validation is None else predicted(validation))

    def linear_predictions(
        self,
        task: ClassificationTask,
        train: LabelledFeatures,
        valid: LabelledFeatures,
        features: np.ndarray,
    ) -> pd.DataFrame:
        """See `EvaluationKind.linear_predictions`; logistic regression."""
        fit = partial(ClassModel.fit, classes=task.class_count)
        shares = fit_best(fit, *train, *valid).predict(features)
        return pd.DataFrame({"prediction": shares.argmax(axis=1), "probabilities": list(shares)})

    def exam_values(
        self, task: ClassificationTask, units: pd.DataFrame, valid: pd.DataFrame | None
    ) -> pd.DataFrame | None:
        """Mean probabilities over the clips of each exam; the class is the most probable one.

        None where clips of one exam differ in their class.
        """
        if task.differs_within_exam:
            return None
        return exam_classes(units)


def fix_threshold(task: ClassificationTask, validation: pd.DataFrame | None) -> float | None:
    """Choose the probability at and above which a unit is called positive, on validation units.

    It is that of the highest Youden index, or that of the sensitivity that the task wants. None
    where validation can't fix one: it has no units or one class alone.
    """
    positive = task.positive_class
    if positive is None or validation is None:
        return None
    probabilities = _probabilities(validation)
    if probabilities is None:
        return None
    is_positive = validation["label"].to_numpy(float) == positive
    score = probabilities[:, positive]
    if task.wanted_sensitivity is None:
        return binary.youden_threshold(is_positive, score)
    return binary.threshold_of_sensitivity(is_positive, score, task.wanted_sensitivity)


def _probabilities(units: pd.DataFrame) -> np.ndarray | None:
    """Probabilities of the classes, (n, K); None where a row has none."""
    if units["probabilities"].isna().any():
        return None
    return np.stack(units["probabilities"].tolist())
