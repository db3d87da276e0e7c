"""The loss of a regression: the likelihood of a number under a predicted normal distribution."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from bsou_dist.feed.batch import Batch
from bsou_dist.model.heads.regression import Gaussian, GaussianHead
from bsou_dist.objective.supervised import heteroscedastic_gaussian
from bsou_dist.tasks.kinds.regression import RegressionTask


class RegressionLoss:
    """Heteroscedastic Gaussian loss of [P1] 4.2, on the standardised scale of the head."""

    def __init__(self, task: RegressionTask, head: GaussianHead, train_labels: np.ndarray) -> None:
        self.task = task.name
        self.head = head

    def __call__(self, outputs: Gaussian, batch: Batch) -> Tensor:
        target = self.head.standardise(batch.labels[self.task])
        return heteroscedastic_gaussian(*outputs, target, valid=batch.valid)

    def weight(self, batch: Batch) -> Tensor:
        """See `Objective.weight`; the number of labelled rows."""
        return (batch.valid & ~batch.labels[self.task].isnan()).sum()
