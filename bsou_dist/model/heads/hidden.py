"""The layers that heads of all kinds of task begin with."""

from __future__ import annotations

from torch import nn

HIDDEN_DIM = 256  # [P1] 4.2: two hidden layers of 256
DROPOUT = 0.15  # [P1] 4.2


def hidden_layers(dim: int, outputs: int) -> nn.Sequential:
    """Make two hidden layers on an embedding (N, `dim`), and a linear one to (N, `outputs`)."""
    return nn.Sequential(
        nn.Linear(dim, HIDDEN_DIM),
        nn.ReLU(),
        nn.Dropout(DROPOUT),
        nn.Linear(HIDDEN_DIM, HIDDEN_DIM),
        nn.ReLU(),
        nn.Dropout(DROPOUT),
        nn.Linear(HIDDEN_DIM, outputs),
    )
