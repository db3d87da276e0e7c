"""Losses as a training step calls them: of a network's outputs and the batch they came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from bsou_dist.feed.batch import Batch
from bsou_dist.feed.global_rows import GlobalRows
from bsou_dist.objective.contrastive import multitask_supcon, planned_supcon, ucon
from bsou_dist.objective.contrastive_plan import Plan, make_plan
from bsou_dist.objective.supervised import multitask_cross_entropy
from bsou_dist.tasks.labels import MISSING_CLASS

PositiveRule = Literal["label", "label_and_sweep", "other_patients"]


class Objective(Protocol):
    """The global loss of a batch, equal on every rank."""

    def __call__(self, outputs: Any, batch: Batch) -> Tensor: ...

    def weight(self, batch: Batch) -> Tensor:
        """Part of this rank's rows in the denominator of the loss, which weighs a batch's loss."""


@runtime_checkable
class PlansAhead(Protocol):
    """An objective that needs to know the labels of all ranks' rows."""

    def plan(self, rows: GlobalRows) -> Plan:
        """What to make of them ahead of a step, on the CPU; a feed hands it on as `Batch.plan`."""


@dataclass(frozen=True)
class MultitaskContrastive:
    """MTSCon ([P1] eq. 2) of T projections.

    `positives` chooses between `multitask_supcon`'s sweep and subject.
    """

    tasks: list[str]
    temperature: float
    positives: PositiveRule

    def plan(self, rows: GlobalRows) -> Plan:
        """See `PlansAhead`."""
        return make_plan(
            rows.labels(self.tasks),
            rows.counts,
            rows.rank,
            sweep=rows.sweep() if self.positives == "label_and_sweep" else None,
            subject=rows.subject() if self.positives == "other_patients" else None,
        )

    def __call__(self, outputs: list[Tensor], batch: Batch) -> Tensor:
        if batch.plan is not None:
            return planned_supcon(
                torch.stack(outputs), batch.plan, temperature=self.temperature, valid=batch.valid
            )
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

    def plan(self, rows: GlobalRows) -> Plan:
        """See `PlansAhead`; the two views of an item have its position for a label."""
        return make_plan(rows.items[None], rows.counts, rows.rank)

    def __call__(self, outputs: list[Tensor], batch: Batch) -> Tensor:
        assert batch.views == 2, batch.views
        if batch.plan is not None:
            return planned_supcon(
                outputs[0][None], batch.plan, temperature=self.temperature, valid=batch.valid
            )
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
