"""The loss of a classification: cross-entropy, weighted by class."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from bsou_dist.feed.batch import Batch
from bsou_dist.objective.supervised import inverse_frequency_weights, weighted_cross_entropy
from bsou_dist.tasks.kinds.classification import ClassificationTask
from bsou_dist.tasks.labels import MISSING_CLASS


class ClassificationLoss:
    """Cross-entropy of logits (N, K), weighted by the inverse frequencies of the training labels.

    [P1] 4.2 names the weighting and not its normalisation, which is by the global sum of weights.
    """

    def __init__(self, task: ClassificationTask, head: nn.Module, train_labels: np.ndarray) -> None:
        self.task = task.name
        self.class_weights = inverse_frequency_weights(
            torch.from_numpy(train_labels), task.class_count
        )

    def __call__(self, outputs: Tensor, batch: Batch) -> Tensor:
        label = batch.labels[self.task]
        return weighted_cross_entropy(
            outputs, label, class_weights=self._weights_on(label.device), valid=batch.valid
        )

    def weight(self, batch: Batch) -> Tensor:
        """See `Objective.weight`; the sum of the weights of the labelled rows."""
        label = batch.labels[self.task]
        labelled = batch.valid & (label != MISSING_CLASS)
        weights = self._weights_on(label.device)[label.clamp(min=0)]
        return torch.where(labelled, weights, 0.0).sum()

    def _weights_on(self, device: torch.device) -> Tensor:
        """The weights, moved to the device of the labels at the first step."""
        self.class_weights = self.class_weights.to(device)
        return self.class_weights
