"""DeepSpeed as the engine, ZeRO 0 to 2. The only file that imports DeepSpeed."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

# DeepSpeed reads it on import.
os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")

import deepspeed
from deepspeed.utils import logger, safe_get_full_optimizer_state, safe_set_full_optimizer_state

from bsou_dist.engine.protocol import Precision

logger.setLevel(logging.WARNING)

ADAM_MOMENTS = ("exp_avg", "exp_avg_sq")
"""What Adam keeps of every parameter beside the number of steps."""


class DeepSpeedEngine:
    """See `Engine`."""

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        precision: Precision,
        zero_stage: int,
    ) -> None:
        # Its shared-memory op is compiled at first start, for as long as half a minute, and needs a
        # C++ compiler; gloo does the same without either.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        # It insists on this one, also in a process that no launcher started.
        os.environ.setdefault("LOCAL_RANK", "0")
        self.network = network
        self.optimizer = optimizer
        self.zero_stage = zero_stage
        self._parameters = dict(network.named_parameters())
        config = {
            # Only the ratio of these enters, as the number of accumulated batches: one.
            "train_batch_size": dist.get_world_size(),
            "train_micro_batch_size_per_gpu": 1,
            # Its engine switches off any autocast around it.
            "torch_autocast": {"enabled": precision == "bfloat16", "dtype": "bfloat16"},
            "zero_optimization": {"stage": zero_stage},
            # The default clips at 1.0, which plain Adam does not.
            "gradient_clipping": 0.0,
            "steps_per_print": 2**31 - 1,
        }
        self._engine, *_ = deepspeed.initialize(
            model=network, optimizer=optimizer, dist_init_required=False, config=config
        )

    def __call__(self, *inputs: Any) -> Any:
        return self._engine(*inputs)

    def update(self, loss: Tensor) -> None:
        self.accumulate(lambda: loss, last=True)

    def accumulate(self, part: Callable[[], Tensor], *, last: bool) -> None:
        self._engine.set_gradient_accumulation_boundary(last)
        self._engine.backward(part())
        self._engine.step()  # does nothing before the boundary

    def moments(self) -> dict[str, dict[str, Tensor]]:
        steps = [state["step"] for state in self.optimizer.state.values() if "step" in state]
        if not steps:
            return {}
        step = torch.as_tensor(steps[0], dtype=torch.float32).cpu()
        moments = {}
        for name, parameter in self._parameters.items():
            if parameter.requires_grad:
                state = {key: self._moment(parameter, key) for key in ADAM_MOMENTS}
                moments[name] = {"step": step.clone(), **state}
        return moments

    def _moment(self, parameter: nn.Parameter, key: str) -> Tensor:
        if self.zero_stage > 0:
            value = safe_get_full_optimizer_state(parameter, key)
        else:
            value = self.optimizer.state[parameter][key]
        return value.detach().cpu().clone()

    def load_moments(self, moments: dict[str, dict[str, Tensor]]) -> None:
        if not moments:
            return
        if self.zero_stage > 0:
            self._load_shards(moments)
            return
        for name, state in moments.items():
            parameter = self._parameters[name]
            of_parameter = {key: state[key].to(parameter.device, copy=True) for key in ADAM_MOMENTS}
            self.optimizer.state[parameter] = {"step": state["step"].clone(), **of_parameter}

    def _load_shards(self, moments: dict[str, dict[str, Tensor]]) -> None:
        """Give every rank its shard of the moments."""
        step = next(iter(moments.values()))["step"]
        # The sharded optimizer makes its state at the first step; give it one to be filled, as that
        # step would.
        for group in self.optimizer.param_groups:
            for shard in group["params"]:
                empty = {key: torch.zeros_like(shard) for key in ADAM_MOMENTS}
                self.optimizer.state[shard] = {"step": step.clone(), **empty}
        self._engine.optimizer._lazy_init_hp_params_optimizer_state()
        for name, state in moments.items():
            for key in ADAM_MOMENTS:
                safe_set_full_optimizer_state(self._parameters[name], state[key], key)

    def close(self) -> None:
        # Else its hooks would keep the network, its master weights and the moments alive.
        self._engine.destroy()
