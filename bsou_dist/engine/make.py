"""The engine that a config asks for, new or resumed from a checkpoint."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import nn

from bsou_dist.common.errors import InputError
from bsou_dist.engine.checkpoint import Checkpoint, Checkpoints
from bsou_dist.engine.optim.config import BY_LAYER, OptimConfig
from bsou_dist.engine.optim.freezing import freeze
from bsou_dist.engine.optim.make import make_optimizer
from bsou_dist.engine.processes import Processes
from bsou_dist.engine.protocol import Engine
from bsou_dist.engine.speed import SpeedConfig, check_speed, prepare_network, set_number_formats


class EngineConfig(SpeedConfig):
    """The engine that averages gradients and steps the optimizer, and how it does so.

    ZeRO 1 shards optimizer moments over ranks, ZeRO 2 gradients too, and ZeRO 3 weights too.
    `auto` is plain PyTorch (`ddp`) where nothing is sharded, since it averages gradients while the
    backward pass is under way and DeepSpeed's ZeRO 0 does not; else `deepspeed`.
    """

    name: Literal["auto", "deepspeed", "ddp"] = "auto"
    zero_stage: Literal[0, 1, 2, 3] = 0
    on_nonfinite: Literal["stop", "skip"] = "stop"
    """What follows a loss or a gradient that is NaN or infinite. In either case nothing steps by
    it; 'skip' passes over the batch and goes on.
    """
    max_skips: int = Field(default=10, ge=1)
    """For 'skip': how many batches of an epoch may be passed over before the run ends after all."""
    hang_minutes: float = Field(default=15.0, gt=0)
    """How long a process may stand at one place before the run ends and says where that is."""

    @property
    def is_deepspeed(self) -> bool:
        """Whether DeepSpeed is what these settings mean."""
        return self.name == "deepspeed" or self.zero_stage > 0

    @property
    def allowed_skips(self) -> int:
        """How many batches of an epoch may be passed over."""
        return self.max_skips if self.on_nonfinite == "skip" else 0

    @model_validator(mode="after")
    def _check(self) -> EngineConfig:
        if self.is_deepspeed and self.channels_last:
            raise ValueError(
                "channels_last: DeepSpeed cannot broadcast such weights: set name to 'ddp', or "
                "leave it out"
            )
        if self.name == "ddp" and self.zero_stage:
            raise ValueError(
                f"zero_stage is {self.zero_stage}, but ddp shards nothing: "
                "set name to 'auto' or zero_stage to 0"
            )
        return self


def check_optimizer(config: EngineConfig, optim: OptimConfig) -> None:
    """Refuse an optimizer that would take another step where tensors are sharded.

    Raises:
        InputError: LARS or LAMB with ZeRO, which hands an optimizer all tensors as one flat shard;
            a moving average of weights that no rank has whole; LARS or LAMB as one kernel.
    """
    if optim.name in BY_LAYER and config.fused_optimizer:
        raise InputError(
            f"engine.fused_optimizer is for 'adam', 'adamw' and 'sgd', and optim.name is "
            f"{optim.name!r}, of which there is no such kernel: leave it out"
        )
    if optim.name in BY_LAYER and config.zero_stage:
        raise InputError(
            f"optim.name is {optim.name!r}, which goes by the norm of each tensor, and "
            f"engine.zero_stage {config.zero_stage} gives every rank a part of all tensors: set "
            "engine.zero_stage to 0, or take 'adamw'"
        )
    if optim.ema and config.zero_stage == 3:
        raise InputError(
            f"optim.ema is {optim.ema}, an average of all weights on every rank, and "
            "engine.zero_stage 3 gives every rank a part of them: set engine.zero_stage to 2, or "
            "leave optim.ema out"
        )


def make_engine(
    network: nn.Module, config: EngineConfig, optim: OptimConfig, processes: Processes
) -> Engine:
    """The engine of `config` with the optimizer of `optim`.

    Raises:
        InputError: what this device cannot do, an optimizer that this sharding would change, or
            what `make_optimizer` refuses.
    """
    check_speed(config, processes.device)
    check_optimizer(config, optim)
    set_number_formats(config, processes.device)
    network.to(processes.device)
    prepare_network(network, config)
    optimizer = make_optimizer(network, optim, fused=config.fused_optimizer)
    engine = _make(network, config, optimizer, processes)
    engine.max_norm = optim.max_norm
    return engine


def _make(
    network: nn.Module,
    config: EngineConfig,
    optimizer: torch.optim.Optimizer,
    processes: Processes,
) -> Engine:
    # Each engine is imported only where it is used: DeepSpeed takes seconds to load.
    if not config.is_deepspeed:
        from bsou_dist.engine.ddp_engine import DdpEngine

        return DdpEngine(network, optimizer, config.precision, processes)
    from bsou_dist.engine.deepspeed_engine import DeepSpeedEngine

    return DeepSpeedEngine(network, optimizer, config.precision, config.zero_stage)


def resume_engine(
    network: nn.Module,
    config: EngineConfig,
    optim: OptimConfig,
    *,
    checkpoints: Checkpoints,
    processes: Processes,
) -> tuple[Engine, Checkpoint | None]:
    """An engine that goes on from the newest checkpoint, and that checkpoint.

    Without a checkpoint: a new engine, and None. Collective.

    Raises:
        InputError: as `Checkpoints.latest` and `make_engine`.
    """
    start = checkpoints.latest(processes)
    if start:
        # Before the engine is made, which may keep a copy of the weights.
        network.load_state_dict(start.network)
    freeze(network, optim, start.epoch if start else 0)
    engine = make_engine(network, config, optim, processes)
    if start:
        engine.load_moments(start.moments)
    return engine, start
