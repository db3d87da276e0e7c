"""What stops training before a number that is not finite reaches the weights, or is passed over."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class NotFinite(RuntimeError):
    """A loss or a gradient is NaN or infinite; raised on every rank.

    The weights are still those of the step before.
    """


def not_finite_step(
    loss: float, gradient_norm: float, *, epoch: int, step: int, keys: list[str]
) -> NotFinite:
    """The error that names the clips of all ranks' part of the batch. Collective.

    `keys` are those of this rank.
    """
    keys_of: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(keys_of, keys)
    clips = "; ".join(f"rank {rank}: {', '.join(own)}" for rank, own in enumerate(keys_of) if own)
    return NotFinite(
        f"the loss is {loss} and the norm of its gradient {gradient_norm} at epoch {epoch}, "
        f"step {step}; the weights were not changed. Clips of {clips}"
    )


class KeptBuffers:
    """A network's buffers as they were, since a forward pass of a bad batch spoils the running
    statistics of batch norm for all that follow.
    """

    def __init__(self, network: nn.Module) -> None:
        self._buffers = list(network.buffers())
        self._kept = [buffer.clone() for buffer in self._buffers]

    @torch.no_grad()
    def restore(self) -> None:
        """Give every buffer its value of then."""
        for buffer, kept in zip(self._buffers, self._kept, strict=True):
            buffer.copy_(kept)


def first_not_finite(tensors: dict[str, Tensor]) -> str | None:
    """Name of the first tensor with a value that is not finite; None where there is none."""
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            return name
    return None
