"""The loss that belongs to a task, by the name of its kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bsou_dist.objective.batch_objectives import Objective
from bsou_dist.objective.kinds.classification import ClassificationLoss
from bsou_dist.objective.kinds.regression import RegressionLoss
from bsou_dist.tasks.task import Task

LOSSES: dict[str, Callable[[Any, Any, np.ndarray], Objective]] = {
    "classification": ClassificationLoss,
    "regression": RegressionLoss,
}
"""Takes the task, its head, and the encoded labels of the training split."""


def make_loss(task: Task, head: Any, train_labels: np.ndarray) -> Objective:
    """Make the loss of stage 2 for a task.

    Args:
        task: what is predicted.
        head: the head whose outputs the loss is given (see `model/heads/`).
        train_labels: encoded labels of the training split, (n,), -1 or NaN where missing.
    """
    return LOSSES[task.kind](task, head, train_labels)
