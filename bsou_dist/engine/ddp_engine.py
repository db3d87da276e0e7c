"""Plain PyTorch data parallelism: the reference engine."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from bsou_dist.engine.processes import Processes
from bsou_dist.engine.protocol import Precision


class DdpEngine:
    """See `Engine`."""

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        precision: Precision,
        processes: Processes,
    ) -> None:
        self.network = network
        self._autocast = torch.autocast(
            torch.device(processes.device).type, torch.bfloat16, enabled=precision == "bfloat16"
        )
        self.optimizer = optimizer
        device_ids = None if processes.device == "cpu" else [processes.device]
        with warnings.catch_warnings():
            # Torch 2.11, which the project supports, does not know the successor of this argument.
            warnings.filterwarnings("ignore", "`broadcast_buffers`", FutureWarning)
            # Buffers are averaged over ranks before they are used (engine/buffers.py), not
            # overwritten by rank 0's. Gradients live in the buckets that are averaged: no copy of
            # them, neither in time nor in memory.
            self._wrapped = DistributedDataParallel(
                network,
                device_ids=device_ids,
                broadcast_buffers=False,
                gradient_as_bucket_view=True,
            )

    def __call__(self, *inputs: Any) -> Any:
        with self._autocast:
            return self._wrapped(*inputs)

    def update(self, loss: Tensor) -> None:
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def accumulate(self, part: Callable[[], Tensor], *, last: bool) -> None:
        if last:
            self.update(part())
            return
        with self._wrapped.no_sync():
            part().backward()

    def moments(self) -> dict[str, dict[str, Tensor]]:
        return {
            name: {
                key: value.detach().cpu().clone()
                for key, value in self.optimizer.state[parameter].items()
            }
            for name, parameter in self.network.named_parameters()
            if parameter in self.optimizer.state
        }

    def load_moments(self, moments: dict[str, dict[str, Tensor]]) -> None:
        for name, parameter in self.network.named_parameters():
            if name in moments:
                # Adam keeps its step count on the CPU and everything else beside the parameter.
                self.optimizer.state[parameter] = {
                    key: value.clone() if key == "step" else value.to(parameter.device, copy=True)
                    for key, value in moments[name].items()
                }

    def close(self) -> None:
        del self._wrapped
