"""The engine protocol: what a training engine must do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

Precision = Literal["float32", "bfloat16"]


class Engine(Protocol):
    """A network with its optimizer, on all ranks."""

    network: nn.Module
    """The network itself, its parameter names free of any wrapper's."""
    optimizer: torch.optim.Optimizer
    """Where a schedule finds the learning rate."""

    def __call__(self, *inputs: Any) -> Any:
        """Forward pass of this rank's rows, in the precision of the config."""

    def update(self, loss: Tensor) -> None:
        """Backward, average of gradients over ranks, one optimizer step. Collective."""

    def accumulate(self, part: Callable[[], Tensor], *, last: bool) -> None:
        """Add the gradient of a part of the loss; after the last part, average over ranks and step.

        `part` computes its part through this engine. All ranks have equally many parts. Collective.
        """

    def moments(self) -> dict[str, dict[str, Tensor]]:
        """Full optimizer state on the CPU by parameter name, whatever the sharding.

        Empty before the first step. Collective.
        """

    def load_moments(self, moments: dict[str, dict[str, Tensor]]) -> None:
        """Restore what `moments` of any engine gave, under any sharding."""

    def close(self) -> None:
        """Let go of everything but the network, which stays as trained."""
