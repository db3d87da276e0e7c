"""LARS and LAMB, which torch does not have, from timm."""

from __future__ import annotations

from typing import Any

import torch
from timm.optim import Lamb, Lars


def lars(groups: list[dict[str, Any]], *, momentum: float) -> torch.optim.Optimizer:
    """You et al., 2017, *Large Batch Training of Convolutional Networks*, trust coefficient 1e-3.

    Where a group has `always_adapt`, a tensor's step is in proportion to its norm.
    """
    optimizer: torch.optim.Optimizer = Lars(groups, momentum=momentum)
    return optimizer


def lamb(groups: list[dict[str, Any]], *, betas: tuple[float, float]) -> torch.optim.Optimizer:
    """You et al., 2020, *Large Batch Optimization for Deep Learning*.

    timm would clip the gradient at a norm of 1 by itself.
    """
    optimizer: torch.optim.Optimizer = Lamb(groups, betas=betas, max_grad_norm=None)
    return optimizer
