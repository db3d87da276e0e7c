"""The four methods of [P1] Table 2: what each puts on the encoder in stage 1, and which loss it
takes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from bsou_dist.experiment.config import Method, PretrainConfig
from bsou_dist.model.network import VIEW_HEAD, linear_heads, projection_heads
from bsou_dist.objective.batch_objectives import (
    MultitaskContrastive,
    MultitaskCrossEntropy,
    Objective,
    TwoViews,
)
from bsou_dist.tasks import TASKS


@dataclass(frozen=True)
class PretrainMethod:
    """How a method pretrains one encoder on some tasks."""

    title: str
    """As [P1] writes it."""
    views: int
    heads: Callable[[list[str], int], dict[str, nn.Module]]
    objective: Callable[[PretrainConfig, list[str]], Objective]
    one_encoder_per_task: bool = False
    uses_labels: bool = True


def _classifiers(tasks: list[str], dim: int) -> dict[str, nn.Module]:
    return linear_heads([TASKS[task] for task in tasks], dim)


def _cross_entropy(config: PretrainConfig, tasks: list[str]) -> Objective:
    return MultitaskCrossEntropy(tasks)


METHODS: dict[Method, PretrainMethod] = {
    "stsl": PretrainMethod("STSL", 1, _classifiers, _cross_entropy, one_encoder_per_task=True),
    "ucon": PretrainMethod(
        "UCon",
        2,
        lambda tasks, dim: projection_heads([VIEW_HEAD], dim),
        lambda config, tasks: TwoViews(config.temperature),
        uses_labels=False,
    ),
    "mtce": PretrainMethod("MTCE", 1, _classifiers, _cross_entropy),
    "mtscon": PretrainMethod(
        "MTSCon",
        1,
        projection_heads,
        lambda config, tasks: MultitaskContrastive(tasks, config.temperature, config.positives),
    ),
}


def stage1_encoders(config: PretrainConfig) -> dict[str, list[str]]:
    """Name of each encoder that stage 1 makes, with the tasks it learns from."""
    if METHODS[config.method].one_encoder_per_task:
        return {f"pretrain-{task}": [task] for task in config.tasks}
    return {"pretrain": config.tasks}


def encoder_for(config: PretrainConfig, task: str) -> str | None:
    """The encoder that stage 2 of `task` starts from; None where a single-task method has none for
    it.

    [P1] 5: STSL takes the same two stages for in-domain tasks, those whose label stage 1 saw, and
    one stage for others.
    """
    for name, tasks in stage1_encoders(config).items():
        if (
            not METHODS[config.method].one_encoder_per_task
            or TASKS[tasks[0]].label == TASKS[task].label
        ):
            return name
    return None
