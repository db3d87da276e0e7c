"""The `optim` block of a stage: how its weights are moved. The defaults are the recipe of [P1] 4.2.

[P1] is the paper *Improved Representation Learning with Multitasking in Blind Sweep Obstetric
Ultrasound Videos*.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, model_validator

from bsou_dist.common.strict_config import StrictConfig

OptimizerName = Literal["adam", "adamw", "sgd", "lars", "lamb"]
WITH_MOMENTUM: tuple[OptimizerName, ...] = ("sgd", "lars")
BY_LAYER: tuple[OptimizerName, ...] = ("lars", "lamb")
"""Optimizers that scale the step of every tensor by its norm, so that each must be whole."""


def _refuse_unused(config: StrictConfig, by: str, kinds: dict[str, tuple[Any, ...]]) -> None:
    """ValueError for a key that is set, but that the chosen kind has no use for."""
    chosen = getattr(config, by)
    for key, users in kinds.items():
        default = type(config).model_fields[key].default
        if chosen not in users and getattr(config, key) != default:
            named = " or ".join(repr(user) for user in users)
            raise ValueError(
                f"{key} is for {by} {named}, and {by} is {chosen!r}: leave {key} out, or choose "
                "another"
            )


class ScheduleConfig(StrictConfig):
    """How the learning rate moves over a stage; see `optim/schedule.py`."""

    kind: Literal["plateau", "constant", "cosine", "step"] = "plateau"
    warmup_epochs: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Epochs, parts of one too, over which the rate first rises in a line; for every kind."""
    patience: int = Field(default=6, ge=0)
    """For 'plateau': epochs without a better validation loss after which the rate still stays."""
    factor: float = Field(default=0.8, gt=0, lt=1)
    """For 'plateau' and 'step': what the rate is multiplied by each time."""
    at_epochs: tuple[int, ...] = ()
    """For 'step': the numbers of epochs after which it is."""
    final: float = Field(default=0.0, ge=0, lt=1)
    """For 'cosine': what is left of the rate at the end, as a share of it."""

    @model_validator(mode="after")
    def _check(self) -> ScheduleConfig:
        kinds = {
            "patience": ("plateau",),
            "factor": ("plateau", "step"),
            "at_epochs": ("step",),
            "final": ("cosine",),
        }
        _refuse_unused(self, "kind", kinds)
        if self.kind == "step" and not self.at_epochs:
            raise ValueError("kind is 'step': say after which epochs with at_epochs: [20, 25]")
        if list(self.at_epochs) != sorted({epoch for epoch in self.at_epochs if epoch > 0}):
            raise ValueError(f"at_epochs must rise and begin above 0, got {list(self.at_epochs)}")
        return self


class GroupConfig(StrictConfig):
    """Parameters whose names match a pattern, moved in another way than the rest."""

    match: str = Field(min_length=1)
    """Of whole names, '*' for any letters: 'encoder.*', 'heads.*', '*.experts.*'."""
    rate: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Times the learning rate of the stage."""
    weight_decay: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """None: that of the stage."""


class FreezeConfig(StrictConfig):
    """Parameters whose names match a pattern, and that stay as they are for a while.

    Batch norm of a frozen part still normalises by the batch and moves its statistics; an encoder
    with `norm: frozen_batch` does not.
    """

    match: str = Field(min_length=1)
    """As in `groups`."""
    epochs: int | None = Field(default=None, ge=1)
    """How many epochs of the stage; None: all."""


class OptimConfig(StrictConfig):
    """The optimizer, its learning rate, and how that moves."""

    name: OptimizerName = "adam"
    learning_rate: float = Field(gt=0, allow_inf_nan=False)
    scale_rate: Literal["none", "linear", "square_root"] = "none"
    """What the learning rate is multiplied by: global_batch / base_batch, its root, or nothing."""
    base_batch: int = Field(default=32, ge=1)
    """The global batch that `learning_rate` is meant for."""
    betas: tuple[float, float] = (0.9, 0.999)
    """For 'adam', 'adamw' and 'lamb': how slowly the two moments forget."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """For 'sgd' and 'lars'."""
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Not of norm layers and biases. 'adamw' and 'lamb' take it from the weights, the others add it
    to the gradient.
    """
    groups: tuple[GroupConfig, ...] = ()
    """A parameter belongs to the first group that its name matches."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """Each layer of the encoder has this times the rate of the layer above it, the last one of the
    heads'.
    """
    freeze: tuple[FreezeConfig, ...] = ()
    schedule: ScheduleConfig = ScheduleConfig()
    max_norm: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """A gradient of a larger norm over all parameters is scaled down to it; None: never."""
    ema: float | None = Field(default=None, gt=0, lt=1)
    """Decay per step of a moving average of the weights, which is validated and kept as the best;
    None: the weights themselves are.
    """
    early_stopping: int | None = Field(default=None, ge=1)
    """Epochs without a better validation loss after which the stage ends; None: never."""

    @model_validator(mode="after")
    def _check(self) -> OptimConfig:
        kinds = {
            "betas": ("adam", "adamw", "lamb"),
            "momentum": WITH_MOMENTUM,
        }
        _refuse_unused(self, "name", kinds)
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must lie in [0, 1), got {list(self.betas)}")
        if self.scale_rate == "none" and self.base_batch != 32:
            raise ValueError(
                "base_batch is what the learning rate is scaled from, and scale_rate is 'none': "
                "leave base_batch out, or set scale_rate to 'linear' or 'square_root'"
            )
        return self

    @property
    def names_parameters(self) -> bool:
        """Whether what it asks for may not fit a network."""
        return bool(self.groups or self.freeze) or self.layer_decay != 1

    def scaled_to(self, global_batch: int) -> OptimConfig:
        """The same with the learning rate for batches of `global_batch`, and nothing to scale.

        Linear as Goyal et al., 2017, *Accurate, Large Minibatch SGD*; by the root as is usual with
        Adam's kind of step and with LARS and LAMB.
        """
        ratio = global_batch / self.base_batch
        by = {"none": 1.0, "linear": ratio, "square_root": math.sqrt(ratio)}[self.scale_rate]
        plain = {"scale_rate": "none", "base_batch": 32}
        return self.model_copy(update={"learning_rate": by * self.learning_rate, **plain})
