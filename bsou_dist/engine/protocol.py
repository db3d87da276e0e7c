"""What a training engine must do, and how one is chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from bsou_dist.engine.processes import Processes
from bsou_dist.errors import InputError

Precision = Literal["float32", "bfloat16"]


class EngineConfig(BaseModel):
    """Which engine averages gradients and steps the optimizer.

    `deepspeed` is the engine, `ddp` (plain PyTorch) the reference it is tested against. ZeRO 1 shards optimizer
    moments over ranks, ZeRO 2 gradients too.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["deepspeed", "ddp"] = "deepspeed"
    zero_stage: Literal[0, 1, 2] = 0
    precision: Precision = "float32"
    hang_minutes: float = Field(default=15.0, gt=0)
    """How long a process may stand at one place before the run ends and says where that is."""

    @model_validator(mode="after")
    def _check(self) -> EngineConfig:
        if self.name == "ddp" and self.zero_stage:
            raise ValueError(f"zero_stage is {self.zero_stage}, but ddp shards nothing: "
                             "set name to 'deepspeed' or zero_stage to 0")
        return self


class Engine(Protocol):
    """A network with its optimizer, on all ranks."""

    network: nn.Module
    """The network itself, its parameter names free of any wrapper's."""
    optimizer: torch.optim.Optimizer
    """Where a schedule finds the learning rate."""

    def __call__(self, *inputs: Any) -> Any:
        """Forward pass of this rank's rows, in the precision of the config."""

    def update(self, loss: Tensor) -> None:
        """Backward, average of gradients over ranks, one optimizer step."""

    def accumulate(self, part: Callable[[], Tensor], *, last: bool) -> None:
        """Add the gradient of a part of the loss, which `part` computes through this engine; after the last one,
        average over ranks and step. All ranks have equally many parts."""

    def moments(self) -> dict[str, dict[str, Tensor]]:
        """Full optimizer state on the CPU by parameter name, whatever the sharding; empty before a step. Collective."""

    def load_moments(self, moments: dict[str, dict[str, Tensor]]) -> None:
        """Restore what `moments` gave, under any sharding."""

    def close(self) -> None:
        """Let go of everything but the network, which stays as trained."""


def check_precision(config: EngineConfig, device: str) -> None:
    """InputError for bfloat16 on CPU."""
    if config.precision == "bfloat16" and device == "cpu":
        raise InputError("engine.precision is 'bfloat16', but on CPU torch gives wrong weight gradients for it in the "
                         "last convolutions (docs/decisions.md): use 'float32'")


def make_engine(network: nn.Module, config: EngineConfig, *, learning_rate: float, processes: Processes) -> Engine:
    """The engine of `config` with Adam ([P1] 4.2) at `learning_rate`.

    Raises:
        InputError: bfloat16 on CPU.
    """
    check_precision(config, processes.device)
    network.to(processes.device)
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trainable, lr=learning_rate)
    if config.name == "ddp":
        from bsou_dist.engine.ddp import DdpEngine

        return DdpEngine(network, optimizer, config.precision, processes)
    from bsou_dist.engine.deepspeed_backend import DeepSpeedEngine

    return DeepSpeedEngine(network, optimizer, config.precision, config.zero_stage)
