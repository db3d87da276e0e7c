"""The head of a regression: a normal distribution per row."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from bsou_dist.model.heads.hidden import hidden_layers
from bsou_dist.tasks.kinds.regression import RegressionTask
from bsou_dist.tasks.labels import is_missing

MIN_STD = 1e-6
"""Training labels that are all equal would be divided by 0."""


LOG_VARIANCE_BOUND = 10.0
"""Largest size of a log variance, in standardised units: deviations from 1/148 of that of the
labels, finer than any of them is measured, to 148 times it. Beyond, one outlier's gradient would
grow without limit.
"""


class Gaussian(NamedTuple):
    """A predicted normal distribution per row, in standardised units."""

    mean: Tensor  # (N,)
    log_variance: Tensor  # (N,)


class GaussianHead(nn.Module):
    """Embeddings (N, C) to a `Gaussian` (Kendall and Gal, 2017, What Uncertainties Do We Need).

    Mean and deviation of the training labels are buffers, so that a checkpoint alone gives values
    in the task's unit.

    Args:
        train_labels: float (n,), in the task's unit, NaN where missing; None for a head whose
            weights and buffers come from a checkpoint.
    """

    target_mean: Tensor
    target_std: Tensor

    def __init__(
        self, task: RegressionTask, dim: int, train_labels: np.ndarray | None = None
    ) -> None:
        super().__init__()
        self.layers = hidden_layers(dim, 2)
        mean, std = torch.tensor(0.0), torch.tensor(1.0)
        if train_labels is not None:
            known = torch.from_numpy(train_labels[~is_missing(train_labels)])
            mean = known.mean()
            std = known.std(correction=0).clamp(min=MIN_STD)
        self.register_buffer("target_mean", mean.float())
        self.register_buffer("target_std", std.float())

    def forward(self, embedding: Tensor) -> Gaussian:
        out = self.layers(embedding)
        # Bounded smoothly: the gradient leads back from the bound, where that of a clamp is 0.
        log_variance = LOG_VARIANCE_BOUND * torch.tanh(out[:, 1] / LOG_VARIANCE_BOUND)
        return Gaussian(out[:, 0], log_variance)

    def standardise(self, target: Tensor) -> Tensor:
        """Bring targets in the task's unit to the head's scale; NaN stays NaN."""
        return (target - self.target_mean) / self.target_std

    def in_unit(self, out: Gaussian) -> tuple[Tensor, Tensor]:
        """Give mean (N,) in the task's unit and variance (N,) in its square."""
        mean = out.mean.float() * self.target_std + self.target_mean
        variance = out.log_variance.float().exp() * self.target_std.square()
        return mean, variance

    def predictions(self, out: Gaussian) -> dict[str, Any]:
        """See `Head.predictions`; the mean, and its variance."""
        mean, variance = self.in_unit(out)
        return {
            "prediction": mean.double().cpu().numpy(),
            "variance": variance.double().cpu().numpy(),
            "probabilities": None,
        }
