"""The head of a classification."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor, nn

from bsou_dist.model.heads.hidden import hidden_layers
from bsou_dist.tasks.kinds.classification import ClassificationTask


class ClassificationHead(nn.Module):
    """Embeddings (N, C) to logits (N, K)."""

    def __init__(
        self, task: ClassificationTask, dim: int, train_labels: np.ndarray | None = None
    ) -> None:
        super().__init__()
        self.layers = hidden_layers(dim, len(task.classes))

    def forward(self, embedding: Tensor) -> Tensor:
        logits: Tensor = self.layers(embedding)
        return logits

    def predictions(self, logits: Tensor) -> dict[str, Any]:
        """See `Head.predictions`; the most probable class, and all probabilities."""
        probabilities = logits.float().softmax(dim=1).double().cpu().numpy()
        return {
            "prediction": probabilities.argmax(axis=1).astype(float),
            "variance": np.nan,
            "probabilities": list(probabilities),
        }
