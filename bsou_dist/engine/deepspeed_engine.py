"""DeepSpeed as the engine, ZeRO 0 to 3. The only file that imports DeepSpeed."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

# DeepSpeed reads it on import.
os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")

import deepspeed
from deepspeed.utils import (
    logger,
    safe_get_full_optimizer_state,
    safe_set_full_optimizer_state,
    safe_set_local_optimizer_state,
)

from bsou_dist.engine.gradient import clip, norm_of, norm_of_shards
from bsou_dist.engine.optim.moments import (
    STEP,
    counts_steps,
    load_whole_moments,
    moment_names,
    whole_moments,
)
from bsou_dist.engine.protocol import Precision
from bsou_dist.engine.whole_weights import whole_weights

logger.setLevel(logging.WARNING)


LEFT_BY_ZERO_3 = (
    "_external_params",
    "_original_parameters",
    "all_parameters",
    "applied_pre_backward_ref_cnt",
    "ds_external_parameters",
    "ds_grads_remaining",
    "ds_id",
    "ds_inflight_param_registry",
    "ds_recompute_parameters",
    "post_bwd_fn",
    "pre_bwd_fn",
)
"""Attributes of modules that DeepSpeed 0.19.8 does not take back; with them, a second engine would
call the hooks of the first one.
"""

BUCKET_ELEMENTS = 2**24
"""Most elements that are communicated at once: 64 MB of float32. DeepSpeed's own numbers, for
models of billions of weights, would take 2 to 4 GB for any model.
"""


def _sharding(zero_stage: int, network: nn.Module) -> dict[str, Any]:
    """How DeepSpeed spreads a network over ranks, with buffers that fit its size."""
    elements = sum(parameter.numel() for parameter in network.parameters())
    bucket = min(elements, BUCKET_ELEMENTS)
    sharding = {
        "stage": zero_stage,
        "reduce_bucket_size": bucket,
        "allgather_bucket_size": BUCKET_ELEMENTS,
        # Gradients are averaged while the rest of the backward pass is under way.
        "overlap_comm": zero_stage > 0,
    }
    if zero_stage in (1, 2):
        # It is computed here, before anything steps.
        sharding["compute_grad_norm"] = False
    if zero_stage == 3:
        sharding["stage3_prefetch_bucket_size"] = bucket
        sharding["stage3_max_live_parameters"] = 4 * BUCKET_ELEMENTS
        sharding["stage3_max_reuse_distance"] = 4 * BUCKET_ELEMENTS
        # One flat shard for each group of parameters, as at the other stages.
        sharding["sub_group_size"] = elements
        # It would replace torch's linear layer for the whole process and for good.
        sharding["memory_efficient_linear"] = False
    return sharding


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
        self.max_norm: float | None = None
        self._norm = torch.tensor(torch.nan)
        """Norm of the gradient at hand."""
        self._parameters = dict(network.named_parameters())
        names = {parameter: name for name, parameter in self._parameters.items()}
        # With ZeRO the optimizer's groups hold shards afterwards.
        self._groups = [
            [names[parameter] for parameter in group["params"]] for group in optimizer.param_groups
        ]
        config = {
            # Only the ratio of these enters, as the number of accumulated batches: one.
            "train_batch_size": dist.get_world_size(),
            "train_micro_batch_size_per_gpu": 1,
            # Its engine switches off any autocast around it.
            "torch_autocast": {
                "enabled": precision == "bfloat16",
                "dtype": "bfloat16",
                # Else gradients of linear and convolution layers would be averaged in bfloat16.
                "lower_precision_safe_modules": [],
            },
            "communication_data_type": "fp32",
            "zero_optimization": _sharding(zero_stage, network),
            # It knows its own and torch's Adam; what shards cannot do is refused in engine/make.py.
            "zero_allow_untested_optimizer": True,
            # The default clips at 1.0, which plain Adam does not.
            "gradient_clipping": 0.0,
            "steps_per_print": 2**31 - 1,
        }
        self._engine, *_ = deepspeed.initialize(
            model=network, optimizer=optimizer, dist_init_required=False, config=config
        )

    def __call__(self, *inputs: Any) -> Any:
        return self._engine(*inputs)

    def backward(self, loss: Tensor) -> Tensor:
        return self.backward_in_parts([lambda: loss])

    def backward_in_parts(self, parts: Sequence[Callable[[], Tensor]]) -> Tensor:
        self._engine.set_gradient_accumulation_boundary(False)
        for part in parts[:-1]:
            self._engine.backward(part())
            self._engine.step()  # does nothing before the boundary
        self._engine.set_gradient_accumulation_boundary(True)
        self._engine.backward(parts[-1]())
        gradients = self._gradients()
        if self.zero_stage == 0:
            self._norm = norm_of(gradients)
        else:
            self._norm = norm_of_shards(gradients, self._engine.device)
        return self._norm

    def step(self) -> None:
        clip(self._gradients(), self._norm, self.max_norm)
        self._engine.step()

    def drop_gradient(self) -> None:
        if self.zero_stage == 0:
            self._engine.zero_grad()
            return
        # What is to be forgotten beside the gradients is its own business: it passes over a
        # gradient that is not finite on any rank, once it is told to look. At ZeRO 3 it always
        # looks.
        gradients = self._gradients()
        for gradient in gradients:
            gradient.fill_(torch.nan)
        self._engine.optimizer.check_grad_overflow = True
        self._engine.step()
        self._engine.optimizer.check_grad_overflow = False
        # ZeRO 3 keeps these buffers, and never writes what pads them to equal lengths.
        for gradient in gradients:
            gradient.zero_()

    def _gradients(self) -> list[Tensor]:
        """The averaged gradient: of every parameter, or with ZeRO what this rank has of it."""
        if self.zero_stage == 0:
            gradients = [parameter.grad for parameter in self._parameters.values()]
            return [gradient for gradient in gradients if gradient is not None]
        of_groups = self._engine.optimizer.averaged_gradients.values()
        return [gradient for of_group in of_groups for gradient in of_group]

    def weights(self, *, keep: bool = True) -> dict[str, Tensor]:
        if self.zero_stage < 3:
            return whole_weights(self.network) if keep else {}
        weights = whole_weights(self.network) if keep else {}
        # In what that found, parameters are empty.
        for name, parameter in self.network.named_parameters(remove_duplicate=False):
            with deepspeed.zero.GatheredParameters([parameter]):
                if keep:
                    weights[name] = parameter.detach().to("cpu", copy=True)
        return weights

    def moments(self, *, keep: bool = True) -> dict[str, dict[str, Tensor]]:
        if self.zero_stage == 0:
            return whole_moments(self.optimizer, self._parameters) if keep else {}
        self._link_moments()
        moments = {}
        for names, shard in zip(self._groups, self._shards(), strict=True):
            of_shard = self.optimizer.state.get(shard)
            if not of_shard:
                continue
            for name in names:
                parameter = self._parameters[name]
                kept = {}
                for key in moment_names(self.optimizer):
                    whole = safe_get_full_optimizer_state(parameter, key)
                    if keep:
                        kept[key] = whole.detach().cpu().clone()
                if not keep:
                    continue
                if counts_steps(self.optimizer):
                    kept[STEP] = of_shard[STEP].detach().cpu().clone()
                moments[name] = kept
        return moments

    def _shards(self) -> list[Tensor]:
        """This rank's flat part of every group of parameters: what the optimizer moves."""
        if self.zero_stage == 3:
            # Between steps the optimizer's groups are empty.
            return list(self._engine.optimizer.fp32_partitioned_groups_flat)
        return [shard for group in self.optimizer.param_groups for shard in group["params"]]

    def load_moments(self, moments: dict[str, dict[str, Tensor]]) -> None:
        if not moments:
            return
        if self.zero_stage > 0:
            self._load_shards(moments)
        else:
            load_whole_moments(self.optimizer, self._parameters, moments)

    def _load_shards(self, moments: dict[str, dict[str, Tensor]]) -> None:
        """Give every rank its shard of the moments.

        A group of which there are none, having been frozen so far, begins at step 0 with zeros, as
        its first step would.
        """
        keys = moment_names(self.optimizer)
        # The sharded optimizer makes its state at the first step; give it one to be filled.
        for names, shard in zip(self._groups, self._shards(), strict=True):
            state = {key: torch.zeros_like(shard) for key in keys}
            if counts_steps(self.optimizer):
                known = moments.get(names[0])
                step = known[STEP].clone() if known else torch.tensor(0.0)
                state[STEP] = (
                    step.to(shard.device) if self.optimizer.defaults.get("fused") else step
                )
            self.optimizer.state[shard] = state
        self._link_moments()
        for names in self._groups:
            for name in names:
                for key in keys:
                    if name in moments:
                        self._load_shard(self._parameters[name], moments[name][key], key)

    def _load_shard(self, parameter: Any, whole: Tensor, key: str) -> None:
        """Give this rank its part of one moment of a parameter."""
        if self.zero_stage < 3:
            safe_set_full_optimizer_state(parameter, whole, key)
            return
        # DeepSpeed 0.19.8 cannot set a whole one that does not divide by the ranks.
        size = parameter.ds_tensor.numel()
        padded = whole.new_zeros(size * dist.get_world_size())
        padded[: whole.numel()] = whole.flatten()
        part = padded[size * dist.get_rank() :][:size]
        safe_set_local_optimizer_state(parameter, part, key)

    def _link_moments(self) -> None:
        """Let DeepSpeed find the moments of every parameter in its shards.

        DeepSpeed 0.19.8 does so once, after the first group of the first step, and finds none of
        the other groups'. At ZeRO 3 it looks them up.
        """
        if self.zero_stage == 3:
            return
        sharded = self._engine.optimizer
        sharded._hp_optimizer_states_linked = False
        sharded._lazy_init_hp_params_optimizer_state()

    def close(self) -> None:
        parameters = self._whole_parameters() if self.zero_stage == 3 else {}
        # Else its hooks would keep the network, its master weights and the moments alive.
        self._engine.destroy()
        # These DeepSpeed 0.19.8 leaves in place.
        for hook in (self._engine.module_forward_pre_hook, self._engine.module_forward_post_hook):
            if hook is not None:
                hook.remove()
        for module in self.network.modules():
            for name in LEFT_BY_ZERO_3:
                vars(module).pop(name, None)
        if self.zero_stage == 3:
            self._put_in(parameters)

    def _whole_parameters(self) -> dict[nn.Parameter, nn.Parameter]:
        """A plain parameter for every one that is spread over ranks. Collective."""
        whole = {}
        for parameter in self.network.parameters():
            with deepspeed.zero.GatheredParameters([parameter]):
                copy = parameter.detach().clone()
            whole[parameter] = nn.Parameter(copy, requires_grad=parameter.requires_grad)
        return whole

    def _put_in(self, whole: dict[nn.Parameter, nn.Parameter]) -> None:
        """Give the network plain parameters in the place of those that DeepSpeed has changed."""
        for module in self.network.modules():
            parameters = module._parameters
            module._parameters = {
                name: None if parameter is None else whole[parameter]
                for name, parameter in parameters.items()
            }
