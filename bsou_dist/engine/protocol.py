"""The engine protocol: what a training engine must do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

Precision = Literal["float32", "tf32", "bfloat16"]


class Engine(Protocol):
    """A network with its optimizer, on all ranks."""

    network: nn.Module
    """The network itself, its parameter names free of any wrapper's."""
    optimizer: torch.optim.Optimizer
    """Where a schedule finds the learning rate."""
    max_norm: float | None
    """A gradient of a larger norm is scaled down to it; None leaves gradients alone."""

    def __call__(self, *inputs: Any) -> Any:
        """Forward pass of this rank's rows, in the precision of the config."""

    def backward(self, loss: Tensor) -> Tensor:
        """Backward, and the average of gradients over ranks. Collective.

        Returns the norm of the whole averaged gradient, equal on every rank, as a scalar on the
        device that nobody has waited for. `step` or `drop_gradient` must follow.
        """

    def backward_in_parts(self, parts: Sequence[Callable[[], Tensor]]) -> Tensor:
        """`backward` of the sum of some parts of the loss.

        Each computes its part through this engine when its turn comes. All ranks have equally many.
        Collective.
        """

    def step(self) -> None:
        """Take one optimizer step by the gradient, clipped at `max_norm`. Collective."""

    def drop_gradient(self) -> None:
        """Forget the gradient instead: neither weights nor moments change. Collective."""

    def weights(self, *, keep: bool = True) -> dict[str, Tensor]:
        """Copies of all weights and buffers on the CPU by name, whole whatever the sharding.

        Without `keep` this rank only takes part, and gets nothing. Collective.
        """

    def moments(self, *, keep: bool = True) -> dict[str, dict[str, Tensor]]:
        """Full optimizer state on the CPU by parameter name, whatever the sharding.

        Without `keep` this rank only takes part, and gets nothing.
        Empty before the first step. Collective.
        """

    def load_moments(self, moments: dict[str, dict[str, Tensor]]) -> None:
        """Restore what `moments` of any engine gave, under any sharding."""

    def close(self) -> None:
        """Let go of everything but the network, which stays as trained, and whole. Collective."""
