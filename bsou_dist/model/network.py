"""What a stage trains: an encoder with one head per task, or one task's head on clips or exams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from bsou_dist.feed.filled_slots import FilledSlots
from bsou_dist.model.encoder import Encoder
from bsou_dist.model.heads.exam_join import ExamJoin
from bsou_dist.model.heads.make import make_head
from bsou_dist.model.heads.projection import Projection
from bsou_dist.tasks.task import Task

VIEW_HEAD = "view"
"""Name of the one projection head of a loss that uses no label."""


def encode_filled(
    encoder: Encoder, inputs: Tensor, slots: Tensor, filled: FilledSlots | None = None
) -> Tensor:
    """Embed what there is; the rest is zeros, and never enters the encoder or its statistics.

    Args:
        inputs: clips (N, 1, F, H, W) with slots (N, 1), or exams (N, 6, 1, F, H, W) with slots
            (N, 6).
        slots: bool, False where a slot is empty, padding or could not be decoded.
        filled: the same on the CPU; where it is not given, a device is waited for.

    Returns:
        (N, C), or (N, 6, C).
    """
    if filled is None:
        filled = FilledSlots(slots.cpu().numpy(), str(inputs.device))
    if inputs.ndim == 5 and filled.everywhere:
        return encoder(inputs)[1]  # the usual batch: no copy of its pixels
    one_per_slot = inputs.flatten(0, 1) if inputs.ndim == 6 else inputs
    index = filled.index()
    _, found = encoder(one_per_slot[index])
    embeddings = found.new_zeros(len(one_per_slot), encoder.dim).index_copy(0, index, found)
    return embeddings.unflatten(0, slots.shape) if inputs.ndim == 6 else embeddings


class PretrainNetwork(nn.Module):
    """Encoder with a head per task: clips (N, 1, F, H, W) and slots (N, 1) to a list of T outputs.

    Outputs are unit-norm projections (N, 256), or logits (N, K) of linear heads.
    """

    def __init__(self, encoder: Encoder, heads: dict[str, nn.Module]) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleDict(heads)

    def forward(
        self, clips: Tensor, slots: Tensor, filled: FilledSlots | None = None
    ) -> list[Tensor]:
        embedding = encode_filled(self.encoder, clips, slots, filled)
        return [head(embedding) for head in self.heads.values()]


def projection_heads(names: list[str], dim: int) -> dict[str, nn.Module]:
    """Make one projection per name, for a contrastive stage 1."""
    return {name: Projection(dim) for name in names}


def linear_heads(tasks: Sequence[Task], dim: int) -> dict[str, nn.Module]:
    """Make one linear classifier per task, for MTCE and STSL ([P1] eq. 1)."""
    return {task.name: nn.Linear(dim, task.class_count) for task in tasks}


class TaskNetwork(nn.Module):
    """One task on clips or exams, with an encoder of its own or on embeddings made beforehand.

    Inputs and slots are those of `encode_filled`; without an encoder, embeddings (N, C) or
    (N, 6, C) stand in the place of pixels.

    Args:
        task: what is predicted.
        dim: C of the embeddings.
        encoder: None where embeddings are given.
        train_labels: as in `make_head`.
    """

    def __init__(
        self,
        task: Task,
        dim: int,
        *,
        encoder: Encoder | None,
        train_labels: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.join = ExamJoin(dim) if task.level == "exam" else None
        head_dim = self.join.dim if self.join else dim
        self.head = make_head(task, head_dim, train_labels)

    def forward(self, inputs: Tensor, slots: Tensor, filled: FilledSlots | None = None) -> Any:
        embedding = inputs
        if self.encoder is not None:
            embedding = encode_filled(self.encoder, inputs, slots, filled)
        if self.join is not None:
            embedding = self.join(embedding, slots)
        return self.head(embedding)
