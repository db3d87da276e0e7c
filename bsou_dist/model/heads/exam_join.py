"""Six sweeps of an exam as one row."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bsou_dist.common.sweeps import SWEEPS


class ExamJoin(nn.Module):
    """Six slot embeddings (B, 6, C) and their mask (B, 6) to one row (B, 6 C + 6).

    The embeddings are concatenated ([P1] 3.2). An empty slot is zeros, and the mask stands beside,
    so that an empty slot is not taken for a grey clip.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = len(SWEEPS) * (dim + 1)

    def forward(self, embeddings: Tensor, slots: Tensor) -> Tensor:
        filled = torch.where(slots[..., None], embeddings, 0.0)
        return torch.cat([filled.flatten(1), slots.to(filled.dtype)], dim=1)
