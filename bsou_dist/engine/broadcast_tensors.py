"""Nested tensors and plain values of the first process, brought to all others."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from bsou_dist.engine.processes import Processes


class _Place(NamedTuple):
    """Where a tensor stands, and what it is like."""

    shape: torch.Size
    dtype: torch.dtype


def broadcast_tensors(content: Any, processes: Processes) -> Any:
    """The first process's dictionaries of tensors and plain values, on every process. Collective.

    Tensors travel one by one by way of the device's own collectives and lie on the CPU in the end,
    so that no device and no pickle has to hold all of them at once.
    """
    tensors: list[Tensor] = []
    outline = processes.broadcast(_outlined(content, tensors) if processes.first else None)
    upcoming = iter(tensors)

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(one) for key, one in value.items()}
        if not isinstance(value, _Place):
            return value
        empty = torch.empty(value.shape, dtype=value.dtype)
        tensor = next(upcoming) if processes.first else empty
        # As bytes, since gloo and NCCL do not take the same types.
        as_bytes = tensor.contiguous().flatten().view(torch.uint8)
        on_device = as_bytes.to(processes.device)
        dist.broadcast(on_device, src=0)
        if processes.first:
            return tensor
        return on_device.cpu().view(value.dtype).view(value.shape)

    return filled(outline)


def _outlined(value: Any, tensors: list[Tensor]) -> Any:
    """The same with places instead of tensors, which are appended to `tensors` in order."""
    if isinstance(value, dict):
        return {key: _outlined(one, tensors) for key, one in value.items()}
    if isinstance(value, Tensor):
        tensors.append(value)
        return _Place(value.shape, value.dtype)
    return value
