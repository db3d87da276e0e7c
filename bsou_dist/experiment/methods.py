"""The four methods of [P1] Table 2: what each puts on the encoder in stage 1, and which loss it
takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from bsou_dist.tasks.task import Task


@dataclass(frozen=True)
class PretrainMethod:
    """How a method pretrains one encoder on some tasks."""

    title: str
    """As [P1] writes it."""
    views: int
    """Augmented views of each clip."""
    heads: Callable[[Sequence[Task], int], dict[str, nn.Module]]
    """Heads on embeddings of a dimension, by the name of their task."""
    objective: Callable[[PretrainConfig, list[str]], Objective]
    """Loss of the heads' outputs, by the names of the tasks."""
    one_encoder_per_task: bool = False
    uses_labels: bool = True


def _projections(tasks: Sequence[Task], dim: int) -> dict[str, nn.Module]:
    return projection_heads([task.name for task in tasks], dim)


def _one_projection(tasks: Sequence[Task], dim: int) -> dict[str, nn.Module]:
    return projection_heads([VIEW_HEAD], dim)


def _cross_entropy(config: PretrainConfig, names: list[str]) -> Objective:
    return MultitaskCrossEntropy(names, config.equal)


def _contrastive(config: PretrainConfig, names: list[str]) -> Objective:
    return MultitaskContrastive(names, config.temperature, config.positives, config.denominator)


def _two_views(config: PretrainConfig, names: list[str]) -> Objective:
    return TwoViews(config.temperature)


METHODS: dict[Method, PretrainMethod] = {
    "stsl": PretrainMethod("STSL", 1, linear_heads, _cross_entropy, one_encoder_per_task=True),
    "ucon": PretrainMethod("UCon", 2, _one_projection, _two_views, uses_labels=False),
    "mtce": PretrainMethod("MTCE", 1, linear_heads, _cross_entropy),
    "mtscon": PretrainMethod("MTSCon", 1, _projections, _contrastive),
}


def stage1_encoders(config: PretrainConfig) -> dict[str, list[str]]:
    """Name of each encoder that stage 1 makes, with the tasks that it learns from."""
    if METHODS[config.method].one_encoder_per_task:
        return {f"pretrain-{task}": [task] for task in config.tasks}
    return {"pretrain": config.tasks}


def encoder_for(config: PretrainConfig, stage1_tasks: Mapping[str, Task], task: Task) -> str | None:
    """Name the encoder that stage 2 of a task starts from; None where there is none.

    A single-task method has none for a task whose label stage 1 did not see. [P1] 5: STSL takes the
    same two stages for in-domain tasks, and one stage for others.

    Args:
        config: of stage 1.
        stage1_tasks: the tasks of the run that made stage 1, by name.
        task: of stage 2.
    """
    one_per_task = METHODS[config.method].one_encoder_per_task
    for encoder, names in stage1_encoders(config).items():
        if not one_per_task or stage1_tasks[names[0]].label == task.label:
            return encoder
    return None
