"""From the embeddings of a clip's frames to that of the clip."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

TemporalPool = Literal["mean", "attention"]

HIDDEN = 128
"""Width of the attention's hidden layer, as in the paper."""


class MeanPool(nn.Module):
    """Frames (N, F, D) to their mean (N, D)."""

    def forward(self, frames: Tensor) -> Tensor:
        return frames.mean(dim=1)


class AttentionPool(nn.Module):
    """Frames (N, F, D) to their mean (N, D) weighted by what they show.

    Ilse et al., 2018, *Attention-based Deep Multiple Instance Learning*, eq. 8: the weight of frame
    f is softmax over frames of w · tanh(V h_f). At the start w is zero, which is the plain mean.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(dim, HIDDEN)
        self.score = nn.Linear(HIDDEN, 1, bias=False)
        nn.init.zeros_(self.score.weight)

    def forward(self, frames: Tensor) -> Tensor:
        scores = self.score(torch.tanh(self.hidden(frames)))
        weights = scores.float().softmax(dim=1).to(frames.dtype)
        return (weights * frames).sum(dim=1)


def make_temporal_pool(kind: TemporalPool, dim: int) -> nn.Module:
    """The pooling of this kind for embeddings of D = `dim`."""
    return AttentionPool(dim) if kind == "attention" else MeanPool()
