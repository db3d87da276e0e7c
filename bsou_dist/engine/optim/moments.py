"""What an optimizer remembers of every parameter, by the parameter's name.

Between optimizers that hold whole tensors it moves as it is; engines that shard it do so by the
names that are given here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

STEP = "step"
"""Number of steps, which Adam keeps for every parameter and timm's LAMB for every group."""


def moment_names(optimizer: torch.optim.Optimizer) -> tuple[str, ...]:
    """Names of the tensors of a parameter's shape that are kept of it."""
    if "betas" in optimizer.defaults:
        return ("exp_avg", "exp_avg_sq")
    return ("momentum_buffer",) if optimizer.defaults["momentum"] else ()


def counts_steps(optimizer: torch.optim.Optimizer) -> bool:
    """Whether the next step depends on how many there were."""
    return "betas" in optimizer.defaults


def whole_moments(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]
) -> dict[str, dict[str, Tensor]]:
    """Copies on the CPU of what is kept of every parameter that was stepped."""
    group_of = _group_of(optimizer)
    moments = {}
    for name, parameter in parameters.items():
        state = optimizer.state.get(parameter)
        if not state:
            continue
        kept = {key: state[key].detach().cpu().clone() for key in moment_names(optimizer)}
        if counts_steps(optimizer):
            steps = state.get(STEP, group_of[parameter].get(STEP))
            kept[STEP] = torch.as_tensor(steps, dtype=torch.float32).detach().cpu().clone()
        moments[name] = kept
    return moments


def load_whole_moments(
    optimizer: torch.optim.Optimizer,
    parameters: Mapping[str, nn.Parameter],
    moments: Mapping[str, Mapping[str, Tensor]],
) -> None:
    """Restore what `whole_moments` gave; what it has nothing of starts anew."""
    group_of = _group_of(optimizer)
    for name, kept in moments.items():
        parameter = parameters[name]
        if parameter not in group_of:
            continue
        state: dict[str, Any] = {
            key: kept[key].to(parameter.device, copy=True) for key in moment_names(optimizer)
        }
        if counts_steps(optimizer):
            group = group_of[parameter]
            if "bias_correction" in group:  # timm's
                group[STEP] = kept[STEP].clone()
            else:
                on_device = group.get("fused") or group.get("capturable")
                device = parameter.device if on_device else "cpu"
                state[STEP] = kept[STEP].to(device, copy=True)
        optimizer.state[parameter] = state


def _group_of(optimizer: torch.optim.Optimizer) -> dict[nn.Parameter, dict[str, Any]]:
    return {parameter: group for group in optimizer.param_groups for parameter in group["params"]}
