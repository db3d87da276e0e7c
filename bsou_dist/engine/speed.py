"""What makes a step faster, smaller or repeatable without another recipe: the switches of `engine`.

All are off unless asked for, and refused where they cannot work.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from pydantic import model_validator
from torch import nn
from torch.utils.checkpoint import checkpoint

from bsou_dist.common.errors import InputError
from bsou_dist.common.strict_config import StrictConfig
from bsou_dist.engine.not_finite import KeptBuffers
from bsou_dist.engine.optim.layers import blocks_of
from bsou_dist.engine.protocol import Precision

CUBLAS_WORKSPACE = ":4096:8"
"""What NVIDIA's documentation of cuBLAS asks for, so that its products are summed in one order."""


class SpeedConfig(StrictConfig):
    """Number formats and switches of the engine.

    `precision` is that of matrix products and convolutions in training, validation, prediction and
    embedding; weights, moments and sums over ranks are float32 in all three.

    - `float32`: both in IEEE float32. Torch itself would let convolutions use TF32.
    - `tf32`: both round their factors to TF32 (10 bits of mantissa) on the tensor cores, those of
      the loss and of gradients too.
    - `bfloat16`: those of the network by autocast with bfloat16 factors; the loss in float32.
    """

    precision: Precision = "float32"
    channels_last: bool = False
    """Weights of 3D convolutions with channels innermost, as tensor cores want them."""
    fused_optimizer: bool = False
    """One kernel for the whole step of 'adam', 'adamw' or 'sgd'."""
    compile_encoder: bool = False
    """`torch.compile` of the encoder, which takes minutes at the first step."""
    activation_checkpointing: bool = False
    """Keep what goes into each block of the encoder and compute what is within again backward."""
    cudnn_benchmark: bool = False
    """Let cuDNN try its algorithms on each new shape of batch and keep the fastest."""
    deterministic: bool = False
    """Only algorithms that sum in one order. Those that have none are an error."""

    @model_validator(mode="after")
    def _check_switches(self) -> SpeedConfig:
        if self.deterministic and self.cudnn_benchmark:
            raise ValueError(
                "cudnn_benchmark chooses algorithms by their time, which deterministic forbids: "
                "leave one of them out"
            )
        if self.compile_encoder and self.activation_checkpointing:
            raise ValueError(
                "compile_encoder chooses itself what to compute again, which "
                "activation_checkpointing would undo: leave one of them out"
            )
        return self


def check_speed(config: SpeedConfig, device: str) -> None:
    """Refuse what a device cannot do or computes wrongly.

    Raises:
        InputError: the key, the reason, and what to use instead.
    """
    if device != "cpu":
        return
    if config.precision == "bfloat16":
        raise InputError(
            "engine.precision is 'bfloat16', but on CPU torch gives wrong weight gradients for it "
            "in the last convolutions (docs/decisions.md): use 'float32'"
        )
    if config.precision == "tf32":
        raise InputError(
            "engine.precision is 'tf32', a format of NVIDIA's tensor cores that a CPU does not "
            "have: use 'float32'"
        )
    if config.cudnn_benchmark:
        raise InputError("engine.cudnn_benchmark is for GPUs, and a CPU has no cuDNN: leave it out")


def set_number_formats(config: SpeedConfig, device: str) -> None:
    """Set what torch keeps for the whole process: formats, cuDNN's choice, repeatability."""
    is_tf32 = config.precision == "tf32"
    # Torch 2.15 has newer names for these two, but its compiler still reads the old ones.
    torch.backends.cuda.matmul.allow_tf32 = is_tf32
    torch.backends.cudnn.allow_tf32 = is_tf32
    torch.backends.cudnn.benchmark = config.cudnn_benchmark
    torch.backends.cudnn.deterministic = config.deterministic
    if config.deterministic and device != "cpu":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", CUBLAS_WORKSPACE)
    # Else every new tensor would be filled too, which changes no result and takes time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(config.deterministic)


def autocast(config: SpeedConfig, device: str) -> AbstractContextManager[Any]:
    """The context of a forward pass in the precision of `config`.

    On a CPU, where a run of a GPU may be read, bfloat16 gives way to float32.
    """
    kind = torch.device(device).type
    if config.precision != "bfloat16" or kind == "cpu":
        return nullcontext()
    return torch.autocast(kind, torch.bfloat16)


def prepare_network(network: nn.Module, config: SpeedConfig) -> None:
    """Do to a network, in place, what its parameters' names and values do not show.

    A network without an encoder, which trains heads on embeddings, has nothing to compile or to
    compute again.

    Raises:
        InputError: the encoder is to be compiled, and this machine has no compiler.
    """
    if config.channels_last:
        for parameter in network.parameters():
            has_width = parameter.ndim == 5 and parameter[0, 0].numel() > 1
            if has_width:  # of others both orders are the same
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)
    encoder = getattr(network, "encoder", None)
    if encoder is None:
        return
    if config.activation_checkpointing:
        for block in blocks_of(encoder):
            # Again where a stage makes another engine of the same network.
            if "forward" not in vars(block):
                block.forward = partial(_computed_again, block, block.forward)
    if config.compile_encoder:
        if not _has_compiler():
            raise InputError(
                "engine.compile_encoder needs a C++ compiler, and there is neither g++ nor clang++ "
                "on PATH nor one named by CXX: install one, or leave it out"
            )
        encoder.compile()


def _computed_again(block: nn.Module, forward: Any, *inputs: Any) -> Any:
    """A block's output, of which backward knows the inputs alone.

    Dropout is drawn as before. Running statistics of batch norm move in the first pass only.
    """
    if not (block.training and torch.is_grad_enabled()):
        return forward(*inputs)
    contexts = partial(_contexts, block)
    return checkpoint(forward, *inputs, use_reentrant=False, context_fn=contexts)


def _contexts(block: nn.Module) -> tuple[Any, Any]:
    return nullcontext(), _kept_statistics(block)


@contextmanager
def _kept_statistics(block: nn.Module) -> Iterator[None]:
    """Undo what the second pass does to running statistics.

    It must run as the first did: torch compares what the two keep for backward.
    """
    kept = KeptBuffers(block)
    try:
        yield
    finally:
        kept.restore()


def _has_compiler() -> bool:
    names = [os.environ.get("CXX", ""), "g++", "clang++"]
    return any(name and shutil.which(name) for name in names)
