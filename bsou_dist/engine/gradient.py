"""The gradient of a step as one number: its norm over all parameters, and clipping by it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

SMALL = 1e-6
"""Added to a norm before it divides, as `torch.nn.utils.clip_grad_norm_` does."""


def norm_of(gradients: Sequence[Tensor]) -> Tensor:
    """Norm of all elements together, a scalar on their device that nobody has read yet.

    It is NaN or infinite wherever an element is, and where the sum of squares overflows, which
    takes float32 elements above 1e19.
    """
    return torch.nn.utils.get_total_norm(gradients)


def norm_of_shards(gradients: Sequence[Tensor], device: torch.device) -> Tensor:
    """`norm_of` of gradients whose elements are spread over all ranks. Collective."""
    squared = norm_of(gradients).to(device).square()
    dist.all_reduce(squared)
    return squared.sqrt()


def clip(gradients: Sequence[Tensor], norm: Tensor, max_norm: float | None) -> None:
    """Scale the gradients down to `max_norm` where their norm is larger; None leaves them."""
    if max_norm is None or not gradients:
        return
    torch._foreach_mul_(list(gradients), (max_norm / (norm + SMALL)).clamp(max=1.0))
