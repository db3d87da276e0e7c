"""Norm layers in place of an encoder's batch norm, and what each means for a batch that is cut over
processes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bsou_dist.common.errors import InputError

Norm = Literal["batch", "sync_batch", "frozen_batch", "group"]
BY_BATCH: tuple[Norm, ...] = ("batch", "sync_batch")
"""Norms by which an embedding depends on the other rows of its batch."""
MAX_GROUPS = 32
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class _Frozen(_BatchNorm):
    """Batch norm by stored statistics, in training too, which leaves them as they are.

    Scale and shift are trained.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """Take rows of any number of dimensions, as the layer did that this one stands for."""

    def train(self, mode: bool = True) -> _Frozen:
        return super().train(False)


def with_norm(network: nn.Module, norm: Norm) -> nn.Module:
    """Replace a network's batch-norm layers, in place; return the network.

    The new layers keep scale, shift and statistics.

    Raises:
        InputError: the network has batch norm of a kind of its own, which cannot be replaced.
    """
    if norm != "batch":
        _check_replaceable(network, norm)
    if norm == "sync_batch":
        synced: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return synced
    if norm == "frozen_batch":
        _replace(network, _frozen)
    elif norm == "group":
        _replace(network, _group)
    return network


def _check_replaceable(network: nn.Module, norm: Norm) -> None:
    kinds = {
        type(module).__name__
        for module in network.modules()
        if isinstance(module, _BatchNorm) and type(module) not in BATCH_NORMS
    }
    if kinds:
        raise InputError(
            f"encoder.norm is {norm!r}, and this encoder has {', '.join(sorted(kinds))}, which is "
            "more than batch norm and cannot be replaced; use 'batch', or another encoder"
        )


def check_statistics(missing: Sequence[str]) -> None:
    """InputError if statistics that frozen batch norm goes by are among a file's `missing` ones."""
    absent = [name for name in missing if name.endswith(("running_mean", "running_var"))]
    if absent:
        raise InputError(
            f"encoder.norm is 'frozen_batch', and encoder.weights lacks statistics to keep "
            f"({len(absent)}, the first {absent[0]}); give other weights, or set encoder.norm to "
            "'group'"
        )


def check_norm(norm: Norm, device: str) -> None:
    """InputError for batch norm over all ranks on CPU, which torch does not have."""
    if norm == "sync_batch" and device == "cpu":
        raise InputError(
            "encoder.norm is 'sync_batch', and torch synchronises batch norm on GPUs only; on CPU "
            "use "
            "'group', which does not depend on the batch, or 'batch'"
        )


def _replace(network: nn.Module, make: Callable[[_BatchNorm], nn.Module]) -> None:
    for name, child in list(network.named_children()):
        if isinstance(child, BATCH_NORMS):
            setattr(network, name, make(child))
        else:
            _replace(child, make)


def _frozen(norm: _BatchNorm) -> nn.Module:
    if norm.running_mean is None:
        raise InputError(
            "encoder.norm is 'frozen_batch', and this encoder's batch norm keeps no statistics; "
            "set encoder.norm to 'group'"
        )
    frozen = _Frozen(norm.num_features, eps=norm.eps, affine=norm.affine)
    frozen.load_state_dict(norm.state_dict())
    return frozen.eval()


def _group(norm: _BatchNorm) -> nn.Module:
    """GroupNorm (Wu and He, 2018) of 32 groups, or of fewer that divide the channels.

    The largest number below 32 is taken: r2plus1d has widths such as 45 and 230.
    """
    channels = norm.num_features
    groups = max(g for g in range(1, MAX_GROUPS + 1) if channels % g == 0)
    group = nn.GroupNorm(groups, channels, eps=norm.eps, affine=norm.affine)
    if not norm.affine:
        return group
    with torch.no_grad():
        group.weight.copy_(norm.weight)
        group.bias.copy_(norm.bias)
    return group
