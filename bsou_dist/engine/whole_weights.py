"""Copies of a network's weights, for engines that hold them whole."""

from __future__ import annotations

from torch import Tensor, nn


def whole_weights(network: nn.Module) -> dict[str, Tensor]:
    """Copies of weights and buffers on the CPU, by name."""
    state = network.state_dict()
    return {name: value.detach().to("cpu", copy=True) for name, value in state.items()}
