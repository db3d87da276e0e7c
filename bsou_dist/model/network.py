"""What a stage trains: an encoder with one head per task, or one task's head on clips or exams."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bsou_dist.model.encoder import Encoder
from bsou_dist.model.heads import ExamJoin, Gaussian, Projection, TaskHead
from bsou_dist.tasks import Task

VIEW_HEAD = "view"
"""Name of the one projection head of a loss that uses no label."""


def encode_filled(encoder: Encoder, inputs: Tensor, slots: Tensor) -> Tensor:
    """Embeddings of what there is; zeros for the rest, which never enters the encoder or its batch
    statistics.

    Args:
        inputs: clips (N, 1, F, H, W) with slots (N, 1), or exams (N, 6, 1, F, H, W) with slots (N,
            6).
        slots: bool, False where a slot is empty, padding or could not be decoded.

    Returns:
        (N, C), or (N, 6, C).
    """
    filled = slots if inputs.ndim == 6 else slots[:, 0]
    if inputs.ndim == 5 and bool(filled.all()):
        return encoder(inputs)[1]  # the usual batch: no copy of its pixels
    _, found = encoder(inputs[filled])
    embeddings = torch.zeros(*filled.shape, encoder.dim, dtype=found.dtype, device=found.device)
    return embeddings.masked_scatter(filled[..., None], found)


class PretrainNetwork(nn.Module):
    """Encoder with a head per task: clips (N, 1, F, H, W) and slots (N, 1) to a list of T outputs.

    Outputs are unit-norm projections (N, 256), or logits (N, K) of linear heads.
    """

    def __init__(self, encoder: Encoder, heads: dict[str, nn.Module]) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleDict(heads)

    def forward(self, clips: Tensor, slots: Tensor) -> list[Tensor]:
        embedding = encode_filled(self.encoder, clips, slots)
        return [head(embedding) for head in self.heads.values()]


def projection_heads(names: list[str], dim: int) -> dict[str, nn.Module]:
    """One projection per name, for a contrastive stage 1."""
    return {name: Projection(dim) for name in names}


def linear_heads(tasks: list[Task], dim: int) -> dict[str, nn.Module]:
    """One linear classifier per task, for MTCE and STSL ([P1] eq. 1)."""
    return {task.name: nn.Linear(dim, len(task.classes)) for task in tasks}


class TaskNetwork(nn.Module):
    """One task on clips or exams, with an encoder of its own or on embeddings made beforehand.

    Inputs and slots as in `encode_filled`; without an encoder, embeddings (N, C) or (N, 6, C)
    instead of pixels.
    """

    def __init__(
        self,
        task: Task,
        dim: int,
        *,
        encoder: Encoder | None,
        target_mean: float = 0.0,
        target_std: float = 1.0,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.join = ExamJoin(dim) if task.level == "exam" else None
        self.head = TaskHead(
            task,
            self.join.dim if self.join else dim,
            target_mean=target_mean,
            target_std=target_std,
        )

    def forward(self, inputs: Tensor, slots: Tensor) -> Tensor | Gaussian:
        embedding = inputs if self.encoder is None else encode_filled(self.encoder, inputs, slots)
        return self.head(self.join(embedding, slots) if self.join else embedding)
