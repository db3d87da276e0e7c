"""A moving average of the weights, which is what is validated and kept as the best."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class MovingAverage:
    """An exponential moving average of a network's parameters, equal on every rank.

    While few steps are done it forgets faster than `decay` says, by min(decay, (1 + n) / (10 + n))
    after n steps, as TensorFlow's and timm's do: else the initial weights would stay in it for
    1 / (1 - decay) steps. Buffers, such as the statistics of batch norm, are not averaged: those of
    the network itself serve both.

    Args:
        network: its parameters are averaged from their present values on.
        decay: share of the average that a step leaves.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay = decay
        self._parameters = dict(network.named_parameters())
        self._averages = {
            name: parameter.detach().clone() for name, parameter in self._parameters.items()
        }

    @torch.no_grad()
    def update(self, done: int) -> None:
        """Take in the weights after `done` steps of the stage."""
        decay = min(self._decay, (1 + done) / (10 + done))
        weights = [parameter.detach() for parameter in self._parameters.values()]
        torch._foreach_lerp_(list(self._averages.values()), weights, 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Have the network compute with the averages for a while."""
        kept = {name: value.detach().clone() for name, value in self._parameters.items()}
        self._write(self._averages)
        try:
            yield
        finally:
            self._write(kept)

    def state(self) -> dict[str, Tensor]:
        """Copies of the averages on the CPU, by the parameter's name."""
        return {name: value.to("cpu", copy=True) for name, value in self._averages.items()}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state`."""
        for name, value in self._averages.items():
            value.copy_(state[name])

    @torch.no_grad()
    def _write(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self._parameters.items():
            parameter.copy_(values[name])
