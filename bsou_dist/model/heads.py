"""Heads on embeddings: projections for contrastive losses, classes, heteroscedastic values, whole
exams.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bsou_dist.tasks import SWEEPS, Task

PROJECTION_DIM = 256  # [P1] 4.2
HIDDEN_DIM = 256  # [P1] 4.2: two hidden layers of 256
DROPOUT = 0.15  # [P1] 4.2


class Projection(nn.Module):
    """Embeddings (N, C) to unit-norm (N, 256), through one hidden layer as in SupCon (Khosla et
    al., 2020).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, PROJECTION_DIM))

    def forward(self, embedding: Tensor) -> Tensor:
        return F.normalize(self.layers(embedding).float(), dim=-1)


class Gaussian(NamedTuple):
    """A predicted normal distribution per row, in standardised units."""

    mean: Tensor  # (N,)
    log_variance: Tensor  # (N,)


class TaskHead(nn.Module):
    """Two hidden layers on an embedding (N, C): logits (N, K) of a classification, or a `Gaussian`
    of a regression.

    The mean and deviation of a regression target are buffers, so that a checkpoint alone gives
    values in the task's unit.
    """

    target_mean: Tensor
    target_std: Tensor

    def __init__(
        self, task: Task, dim: int, *, target_mean: float = 0.0, target_std: float = 1.0
    ) -> None:
        super().__init__()
        self.regression = task.kind == "regression"
        self.layers = nn.Sequential(
            nn.Linear(dim, HIDDEN_DIM),
            nn.ReLU(),
            nn.Dropout(DROPOUT),
            nn.Linear(HIDDEN_DIM, HIDDEN_DIM),
            nn.ReLU(),
            nn.Dropout(DROPOUT),
            nn.Linear(HIDDEN_DIM, 2 if self.regression else len(task.classes)),
        )
        self.register_buffer("target_mean", torch.tensor(float(target_mean)))
        self.register_buffer("target_std", torch.tensor(float(target_std)))

    def forward(self, embedding: Tensor) -> Tensor | Gaussian:
        out = self.layers(embedding)
        return Gaussian(out[:, 0], out[:, 1]) if self.regression else out

    def standardise(self, target: Tensor) -> Tensor:
        """Targets in the task's unit to the standardised scale of the head; NaN stays NaN."""
        return (target - self.target_mean) / self.target_std

    def in_unit(self, out: Gaussian) -> tuple[Tensor, Tensor]:
        """(mean, variance) in the task's unit and its square."""
        mean = out.mean.float() * self.target_std + self.target_mean
        return mean, out.log_variance.float().exp() * self.target_std.square()


class ExamJoin(nn.Module):
    """Six slot embeddings (B, 6, C) and their mask (B, 6) to one row (B, 6 C + 6): [P1] 3.2's
    concatenation.

    An empty slot is zeros, and the mask stands beside, so that an empty slot is not taken for a
    grey clip.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = len(SWEEPS) * (dim + 1)

    def forward(self, embeddings: Tensor, slots: Tensor) -> Tensor:
        filled = torch.where(slots[..., None], embeddings, 0.0)
        return torch.cat([filled.flatten(1), slots.to(filled.dtype)], dim=1)
