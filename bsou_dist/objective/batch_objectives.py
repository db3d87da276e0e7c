"""Losses as a training step calls them: of a network's outputs and the batch they came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from bsou_dist.feed.batch import Batch
from bsou_dist.objective.contrastive import multitask_supcon, ucon
from bsou_dist.objective.supervised import multitask_cross_entropy
from bsou_dist.tasks.labels import MISSING_CLASS

PositiveRule = Literal["label", "label_and_sweep", "other_patients"]


class Objective(Protocol):
    """The global loss of a batch, equal on every rank."""

    def __call__(self, outputs: Any, batch: Batch) -> Tensor: ...

    def weight(self, batch: Batch) -> Tensor:
        """Part of this rank's rows in the denominator of the loss, which weighs a batch's loss."""


@dataclass(frozen=True)
class MultitaskContrastive:
    """MTSCon ([P1] eq. 2) of T projections.

    `positives` chooses between `multitask_supcon`'s sweep and subject.
    """

    tasks: list[str]
    temperature: float
    positives: PositiveRule

    def __call__(self, outputs: list[Tensor], batch: Batch) -> Tensor:
        return multitask_supcon(
            torch.stack(outputs),
            _labels(self.tasks, batch),
            temperature=self.temperature,
            valid=batch.valid,
            sweep=batch.sweep if self.positives == "label_and_sweep" else None,
            subject=batch.subject if self.positives == "other_patients" else None,
        )

    def weight(self, batch: Batch) -> Tensor:
        return batch.valid.sum()


@dataclass(frozen=True)
class TwoViews:
    """UCon ([P1] eq. 3) of one projection of two views."""

    temperature: float

    def __call__(self, outputs: list[Tensor], batch: Batch) -> Tensor:
        assert batch.views == 2, batch.views
        return ucon(outputs[0], batch.index, temperature=self.temperature, valid=batch.valid)

    def weight(self, batch: Batch) -> Tensor:
        return batch.valid.sum()


@dataclass(frozen=True)
class MultitaskCrossEntropy:
    """MTCE ([P1] eq. 1) of T linear heads; STSL with one."""

    tasks: list[str]

    def __call__(self, outputs: list[Tensor], batch: Batch) -> Tensor:
        return multitask_cross_entropy(outputs, _labels(self.tasks, batch), valid=batch.valid)

    def weight(self, batch: Batch) -> Tensor:
        return ((_labels(self.tasks, batch) != MISSING_CLASS) & batch.valid).sum()


def _labels(tasks: list[str], batch: Batch) -> Tensor:
    """Stack the labels of some tasks, int64 (T, N)."""
    return torch.stack([batch.labels[task] for task in tasks])
