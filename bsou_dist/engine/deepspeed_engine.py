"""DeepSpeed as the engine, ZeRO 0 to 2. The only file that imports DeepSpeed."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

# Read on import.
os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")

import deepspeed
from deepspeed.utils import logger, safe_get_full_optimizer_state, safe_set_full_optimizer_state

from bsou_dist.engine.protocol import Precision

logger.setLevel(logging.WARNING)
ADAM_MOMENTS = ("exp_avg", "exp_avg_sq")


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
        os.environ.setdefault(
            "LOCAL_RANK", "0"
        )  # it insists, also in a process that no launcher started
        self.network = network
        self.optimizer = optimizer
        self.zero_stage = zero_stage
        self._parameters = dict(network.named_parameters())
        self._engine, *_ = deepspeed.initialize(
            model=network,
            optimizer=optimizer,
            dist_init_required=False,
            config={
                # Only the ratio of these enters, as the number of accumulated batches: one.
                "train_batch_size": dist.get_world_size(),
                "train_micro_batch_size_per_gpu": 1,
                # Its engine switches off any autocast around it.
                "torch_autocast": {"enabled": precision == "bfloat16", "dtype": "bfloat16"},
                "zero_optimization": {"stage": zero_stage},
                "gradient_clipping": 0.0,  # its default clips at 1.0, which plain Adam does not
                "steps_per_print": 2**31 - 1,
            },
        )

    def __call__(self, *inputs: Any) -> Any:
        return self._engine(*inputs)

    def update(self, loss: Tensor) -> None:
        self.accumulate(lambda: loss, last=True)

    def accumulate(self, part: Callable[[], Tensor], *, last: bool) -> None:
        self._engine.set_gradient_accumulation_boundary(last)
        self._engine.backward(part())
        self._engine.step()  # which does nothing before the boundary

    def moments(self) -> dict[str, dict[str, Tensor]]:
        steps = [state["step"] for state in self.optimizer.state.values() if "step" in state]
        if not steps:
            return {}
        step = torch.as_tensor(steps[0], dtype=torch.float32).cpu()
        return {
            name: {"step": step.clone()}
            | {key: self._moment(parameter, key) for key in ADAM_MOMENTS}
            for name, parameter in self._parameters.items()
            if parameter.requires_grad
        }

    def _moment(self, parameter: nn.Parameter, key: str) -> Tensor:
        sharded = self.zero_stage > 0
        value = (
            safe_get_full_optimizer_state(parameter, key)
            if sharded
            else self.optimizer.state[parameter][key]
        )
        return value.detach().cpu().clone()

    def load_moments(self, moments: dict[str, dict[str, Tensor]]) -> None:
        if not moments:
            return
        step = next(iter(moments.values()))["step"]
        if not self.zero_stage:
            for name, state in moments.items():
                parameter = self._parameters[name]
                self.optimizer.state[parameter] = {"step": state["step"].clone()} | {
                    key: state[key].to(parameter.device, copy=True) for key in ADAM_MOMENTS
                }
            return
        # The sharded optimizer makes its state at the first step; give it one to be filled, as that
        # step would.
        for group in self.optimizer.param_groups:
            for shard in group["params"]:
                self.optimizer.state[shard] = {"step": step.clone()} | {
                    key: torch.zeros_like(shard) for key in ADAM_MOMENTS
                }
        self._engine.optimizer._lazy_init_hp_params_optimizer_state()
        for name, state in moments.items():
            for key in ADAM_MOMENTS:
                safe_set_full_optimizer_state(self._parameters[name], state[key], key)

    def close(self) -> None:
        self._engine.destroy()  # or its hooks keep the network, masters and moments alive
