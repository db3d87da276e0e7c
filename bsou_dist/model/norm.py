"""Norm layers in place of an encoder's batch norm, and what each means for a batch that is cut over
processes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import nn

from bsou_dist.common.errors import InputError

Norm = Literal["batch", "sync_batch", "frozen_batch", "group"]
BY_BATCH: tuple[Norm, ...] = ("batch", "sync_batch")
"""Norms by which an embedding depends on the other rows of its batch."""
MAX_GROUPS = 32


class FrozenBatchNorm3d(nn.BatchNorm3d):
    """Batch norm by stored statistics, in training too, which leaves them as they are.

    Scale and shift are trained.
    """

    def train(self, mode: bool = True) -> FrozenBatchNorm3d:
        return super().train(False)


def with_norm(network: nn.Module, norm: Norm) -> nn.Module:
    """Replace a network's BatchNorm3d layers, in place; return the network.

    The new layers keep scale, shift and statistics.
    """
    if norm == "sync_batch":
        synced: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return synced
    if norm == "frozen_batch":
        _replace(network, _frozen)
    elif norm == "group":
        _replace(network, _group)
    return network


def check_norm(norm: Norm, device: str) -> None:
    """InputError for batch norm over all ranks on CPU, which torch does not have."""
    if norm == "sync_batch" and device == "cpu":
        raise InputError(
            "encoder.norm is 'sync_batch', and torch synchronises batch norm on GPUs only; on CPU "
            "use "
            "'group', which does not depend on the batch, or 'batch'"
        )


def _replace(network: nn.Module, make: Callable[[nn.BatchNorm3d], nn.Module]) -> None:
    for name, child in list(network.named_children()):
        if isinstance(child, nn.BatchNorm3d):
            setattr(network, name, make(child))
        else:
            _replace(child, make)


def _frozen(norm: nn.BatchNorm3d) -> nn.Module:
    frozen = FrozenBatchNorm3d(norm.num_features, eps=norm.eps)
    frozen.load_state_dict(norm.state_dict())
    return frozen.eval()


def _group(norm: nn.BatchNorm3d) -> nn.Module:
    """GroupNorm (Wu and He, 2018) of 32 groups, or of fewer that divide the channels.

    The largest number below 32 is taken: r2plus1d has widths such as 45 and 230.
    """
    channels = norm.num_features
    groups = max(g for g in range(1, MAX_GROUPS + 1) if channels % g == 0)
    group = nn.GroupNorm(groups, channels, eps=norm.eps)
    with torch.no_grad():
        group.weight.copy_(norm.weight)
        group.bias.copy_(norm.bias)
    return group
