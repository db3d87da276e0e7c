"""What the toy kind predicts: a share of the best score."""

import numpy as np
from torch import nn


class ScoreHead(nn.Module):
    def __init__(self, task, dim, train_labels=None):
        super().__init__()
        self.best = task.best
        self.layer = nn.Linear(dim, 1)

    def forward(self, embedding):
        return self.best * self.layer(embedding)[:, 0].sigmoid()

    def predictions(self, scores):
        return {
            "prediction": scores.double().cpu().numpy(),
            "variance": np.nan,
            "probabilities": None,
        }
