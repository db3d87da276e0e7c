"""Batch-norm statistics that are equal on all ranks."""

from __future__ import annotations

import torch.distributed as dist
from torch import nn


def average_buffers(network: nn.Module) -> None:
    """Replace running statistics by their mean over ranks, before validating and before saving.

    Every rank saw other rows, so that running means drift apart; integer buffers (batch counts) are
    equal already. Collective.
    """
    for buffer in network.buffers():
        if buffer.is_floating_point():
            dist.all_reduce(buffer)
            buffer /= dist.get_world_size()
