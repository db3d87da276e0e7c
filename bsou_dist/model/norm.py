"""Norm layers that do not depend on the batch."""

from __future__ import annotations

import torch
from torch import nn

MAX_GROUPS = 32


def use_group_norm(network: nn.Module) -> None:
    """Replace every BatchNorm3d by a GroupNorm that keeps its scale and shift (Wu and He, 2018).

    32 groups, or the largest number below that divides the channels (r2plus1d has widths such as 45 and 230).
    """
    for name, child in list(network.named_children()):
        if isinstance(child, nn.BatchNorm3d):
            channels = child.num_features
            groups = max(g for g in range(1, MAX_GROUPS + 1) if channels % g == 0)
            norm = nn.GroupNorm(groups, channels, eps=child.eps)
            with torch.no_grad():
                norm.weight.copy_(child.weight)
                norm.bias.copy_(child.bias)
            setattr(network, name, norm)
        else:
            use_group_norm(child)
