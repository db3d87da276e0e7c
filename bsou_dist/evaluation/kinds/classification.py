"""Classes: how often they are right."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bsou_dist.evaluation import metrics
from bsou_dist.evaluation.figures import Area, Share, Weighted
from bsou_dist.evaluation.kinds.protocol import NamedMetric
from bsou_dist.evaluation.metrics import Scored
from bsou_dist.tasks.kinds.classification import ClassificationTask


class ClassificationEvaluation:
    """See `EvaluationKind`."""

    primary = ("accuracy", "macro_f1")
    lower_is_better = False
    compared: tuple[str, ...] = ("accuracy", "auc")

    def scored(self, task: ClassificationTask, units: pd.DataFrame) -> Scored:
        """See `EvaluationKind.scored`; with probabilities where every row has them."""
        label = units["label"].to_numpy(float)
        prediction = units["prediction"].to_numpy(float)
        probabilities = None
        if units["probabilities"].notna().all():
            probabilities = np.stack(units["probabilities"].tolist())
        return Scored(label, prediction, probabilities)

    def metrics(self, task: ClassificationTask, units: Scored) -> list[NamedMetric]:
        """See `EvaluationKind.metrics`."""
        found = [
            NamedMetric("accuracy", Share(metrics.is_right)),
            NamedMetric("macro_f1", Weighted(metrics.macro_f1, metrics.macro_f1_independent_n)),
        ]
        if units.probabilities is not None:
            found.append(NamedMetric("auc", Area()))
        return found

    def constant(self, task: ClassificationTask, train_labels: pd.Series) -> float:
        """Most frequent class index; the lower one of two that are equally frequent."""
        return float(train_labels.mode().min())

    def predict_constant(self, task: ClassificationTask, units: Scored, constant: float) -> Scored:
        """See `EvaluationKind.predict_constant`; certain of that class."""
        count = len(units.label)
        probabilities = np.zeros((count, task.class_count))
        probabilities[:, int(constant)] = 1.0
        return Scored(units.label, np.full(count, constant), probabilities)

    def exam_values(
        self, task: ClassificationTask, units: pd.DataFrame, valid: pd.DataFrame | None
    ) -> None:
        """Classes of clips stand for clips alone, and are not averaged."""
