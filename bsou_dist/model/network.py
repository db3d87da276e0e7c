"""What a stage trains: an encoder with one head per task, or one task's head on clips or exams."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bsou_dist.model.encoder import Encoder
from bsou_dist.model.heads import ExamJoin, Gaussian, Projection, TaskHead
from bsou_dist.tasks import Task

VIEW_HEAD = "view"
"""Name of the one projection head of a loss that uses no label."""


class PretrainNetwork(nn.Module):
    """Encoder with a head per task: clips (N, 1, F, H, W) to a list of T outputs.

    Outputs are unit-norm projections (N, 256), or logits (N, K) of linear heads.
    """

    def __init__(self, encoder: Encoder, heads: dict[str, nn.Module]) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleDict(heads)

    def forward(self, clips: Tensor) -> list[Tensor]:
        _, embedding = self.encoder(clips)
        return [head(embedding) for head in self.heads.values()]


def projection_heads(names: list[str], dim: int) -> dict[str, nn.Module]:
    """One projection per name, for a contrastive stage 1."""
    return {name: Projection(dim) for name in names}


def linear_heads(tasks: list[Task], dim: int) -> dict[str, nn.Module]:
    """One linear classifier per task, for MTCE and STSL ([P1] eq. 1)."""
    return {task.name: nn.Linear(dim, len(task.classes)) for task in tasks}


class TaskNetwork(nn.Module):
    """One task on clips or exams, with an encoder of its own or on embeddings made beforehand.

    Input: clips (N, 1, F, H, W), or with `slots` (N, 6) exams (N, 6, 1, F, H, W); without an encoder the embeddings
    (N, C) or (N, 6, C) instead. Only the filled slots of an exam are encoded.
    """

    def __init__(self, task: Task, dim: int, *, encoder: Encoder | None, target_mean: float = 0.0,
                 target_std: float = 1.0) -> None:
        super().__init__()
        self.encoder = encoder
        self.join = ExamJoin(dim) if task.level == "exam" else None
        self.head = TaskHead(task, self.join.dim if self.join else dim, target_mean=target_mean, target_std=target_std)

    def forward(self, inputs: Tensor, slots: Tensor | None = None) -> Tensor | Gaussian:
        embedding = inputs
        if self.encoder is not None:
            if slots is None:
                _, embedding = self.encoder(inputs)
            else:
                _, filled = self.encoder(inputs[slots])
                embedding = torch.zeros(*slots.shape, self.encoder.dim, dtype=filled.dtype, device=filled.device)
                embedding = embedding.masked_scatter(slots[..., None], filled)
        if self.join is not None:
            assert slots is not None, "an exam task needs its slots"
            embedding = self.join(embedding, slots)
        return self.head(embedding)
