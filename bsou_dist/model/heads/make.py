"""The head that belongs to a task, by the name of its kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from bsou_dist.model.heads.classification import ClassificationHead
from bsou_dist.model.heads.regression import GaussianHead
from bsou_dist.tasks.task import Task


class Head(Protocol):
    """A module on embeddings (N, C) that predicts the labels of one task."""

    def __call__(self, embedding: Tensor) -> Any:
        """Outputs that the loss of the same kind takes (see `objective/kinds/`)."""

    def predictions(self, outputs: Any) -> dict[str, Any]:
        """Columns of `predictions.parquet` from the outputs of N rows.

        `prediction` (N,) is a class index or a value in the task's unit; `variance` is (N,) in the
        unit squared, or NaN; `probabilities` is N arrays, one number per class, or None.
        """


MakeHead = Callable[[Any, int, np.ndarray | None], Any]

HEADS: dict[str, MakeHead] = {
    "classification": ClassificationHead,
    "regression": GaussianHead,
}
"""Takes the task, the embedding's dimension, and the encoded labels of the training split."""


def make_head(task: Task, dim: int, train_labels: np.ndarray | None = None) -> Any:
    """Make a fresh head for a task.

    Args:
        task: what is predicted.
        dim: C of the embeddings.
        train_labels: encoded labels of the training split, (n,), by which a head may set its scale;
            None where a checkpoint is loaded afterwards.

    Returns:
        An `nn.Module` that is a `Head`.
    """
    return HEADS[task.kind](task, dim, train_labels)
