"""The optimizer that a stage asks for."""

from __future__ import annotations

import torch
from torch import nn

from bsou_dist.engine.optim.config import OptimConfig
from bsou_dist.engine.optim.groups import parameter_groups


def make_optimizer(
    network: nn.Module, optim: OptimConfig, *, fused: bool = False
) -> torch.optim.Optimizer:
    """The optimizer of `optim` for what can be trained of a network.

    Torch's own take their step in one kernel where `fused`.

    Raises:
        InputError: as `parameter_groups`.
    """
    groups = parameter_groups(network, optim)
    if optim.name == "adam":
        return torch.optim.Adam(groups, betas=optim.betas, fused=fused)
    if optim.name == "adamw":
        return torch.optim.AdamW(groups, betas=optim.betas, fused=fused)
    if optim.name == "sgd":
        return torch.optim.SGD(groups, momentum=optim.momentum, fused=fused)
    from bsou_dist.engine.optim import timm_optimizers

    if optim.name == "lars":
        return timm_optimizers.lars(groups, momentum=optim.momentum)
    return timm_optimizers.lamb(groups, betas=optim.betas)
