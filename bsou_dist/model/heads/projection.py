"""The head of a contrastive loss."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

PROJECTION_DIM = 256  # [P1] 4.2


class Projection(nn.Module):
    """Embeddings (N, C) to unit-norm (N, 256).

    One hidden layer, as in SupCon (Khosla et al., 2020, Supervised Contrastive Learning).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, PROJECTION_DIM))

    def forward(self, embedding: Tensor) -> Tensor:
        return F.normalize(self.layers(embedding).float(), dim=-1)
