"""Plain PyTorch data parallelism: the reference engine."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from bsou_dist.engine.gradient import clip, norm_of
from bsou_dist.engine.optim.moments import load_whole_moments, whole_moments
from bsou_dist.engine.processes import Processes
from bsou_dist.engine.protocol import Precision
from bsou_dist.engine.whole_weights import whole_weights


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
        self.optimizer = optimizer
        self.max_norm: float | None = None
        self._norm = torch.tensor(torch.nan)
        """Norm of the gradient at hand."""
        device_type = torch.device(processes.device).type
        self._autocast = torch.autocast(
            device_type, torch.bfloat16, enabled=precision == "bfloat16"
        )
        device_ids = None if processes.device == "cpu" else [processes.device]
        with warnings.catch_warnings():
            # Torch 2.11, which the project supports, does not know the successor of this argument.
            warnings.filterwarnings("ignore", "`broadcast_buffers`", FutureWarning)
            self._wrapped = DistributedDataParallel(
                network,
                device_ids=device_ids,
                # Averaged over ranks before they are used (engine/buffers.py) instead.
                broadcast_buffers=False,
                # Gradients live in the buckets that are averaged, and are never copied.
                gradient_as_bucket_view=True,
            )

    def __call__(self, *inputs: Any) -> Any:
        with self._autocast:
            return self._wrapped(*inputs)

    def backward(self, loss: Tensor) -> Tensor:
        loss.backward()
        # The averaged gradients are equal on all ranks, and so is their norm.
        self._norm = norm_of(self._gradients())
        return self._norm

    def backward_in_parts(self, parts: Sequence[Callable[[], Tensor]]) -> Tensor:
        with self._wrapped.no_sync():
            for part in parts[:-1]:
                part().backward()
        return self.backward(parts[-1]())

    def step(self) -> None:
        clip(self._gradients(), self._norm, self.max_norm)
        self.optimizer.step()
        self.drop_gradient()

    def drop_gradient(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)

    def _gradients(self) -> list[Tensor]:
        gradients = [parameter.grad for parameter in self.network.parameters()]
        return [gradient for gradient in gradients if gradient is not None]

    def weights(self, *, keep: bool = True) -> dict[str, Tensor]:
        return whole_weights(self.network) if keep else {}

    def moments(self, *, keep: bool = True) -> dict[str, dict[str, Tensor]]:
        if not keep:
            return {}
        return whole_moments(self.optimizer, dict(self.network.named_parameters()))

    def load_moments(self, moments: dict[str, dict[str, Tensor]]) -> None:
        load_whole_moments(self.optimizer, dict(self.network.named_parameters()), moments)

    def close(self) -> None:
        del self._wrapped
