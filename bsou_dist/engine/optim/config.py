"""The `optim` block of a stage: how its weights are moved. The defaults are the recipe of [P1] 4.2.

[P1] is the paper *Improved Representation Learning with Multitasking in Blind Sweep Obstetric
Ultrasound Videos*.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bsou_dist.common.strict_config import StrictConfig


class ScheduleConfig(StrictConfig):
    """How the learning rate moves: 'plateau' lowers it when the validation loss stops falling."""

    kind: Literal["plateau"] = "plateau"
    patience: int = Field(default=6, ge=0)
    """Epochs without a better validation loss after which the rate is still left alone."""
    factor: float = Field(default=0.8, gt=0, lt=1)
    """What the rate is multiplied by each time."""


class OptimConfig(StrictConfig):
    """The optimizer, its learning rate, and how that moves."""

    learning_rate: float = Field(gt=0, allow_inf_nan=False)
    schedule: ScheduleConfig = ScheduleConfig()
