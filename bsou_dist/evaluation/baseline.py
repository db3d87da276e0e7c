"""The predictor to beat: it has seen the training labels and no picture."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bsou_dist.common.errors import InputError
from bsou_dist.evaluation.metrics import Scored
from bsou_dist.tasks import Task


def constant_prediction(task: Task, train_labels: pd.Series) -> float:
    """Most frequent class index (the lower one of two equally frequent) or mean target of the
    training split.

    Raises:
        InputError: there is no training label.
    """
    known = train_labels.dropna()
    if known.empty:
        raise InputError(
            f"predictions hold no training labels of task {task.name!r}, so there is no majority "
            "or mean "
            "to compare with; write rows of split 'train' too (their prediction may be empty)"
        )
    return float(known.mode().min() if task.kind == "classification" else known.mean())


def predict_constant(task: Task, scored: Scored, constant: float) -> Scored:
    """The same units, all predicted as ``constant``."""
    if task.kind == "regression":
        return Scored(scored.label, np.full(len(scored.label), constant))
    probabilities = np.zeros((len(scored.label), len(task.classes)))
    probabilities[:, int(constant)] = 1.0
    return Scored(scored.label, np.full(len(scored.label), constant), probabilities)
