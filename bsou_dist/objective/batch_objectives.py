"""Losses as a training step calls them: of a network's outputs and the batch they came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from bsou_dist.feed.batch import Batch
from bsou_dist.feed.global_rows import GlobalRows
from bsou_dist.objective.contrastive import multitask_supcon, planned_supcon, ucon
from bsou_dist.objective.contrastive_plan import Denominator, Plan, make_plan
from bsou_dist.objective.supervised import TaskWeighting, multitask_cross_entropy
from bsou_dist.tasks.labels import MISSING_CLASS

PositiveCondition = Literal["same_label", "same_sweep", "other_patient"]


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

    `positives` are the conditions that a pair must all meet; `denominator` is that of
    `multitask_supcon`.
    """

    tasks: list[str]
    temperature: float
    positives: tuple[PositiveCondition, ...] = ("same_label",)
    denominator: Denominator = "all_others"

    @property
    def _by_sweep(self) -> bool:
        return "same_sweep" in self.positives

    @property
    def _by_subject(self) -> bool:
        return "other_patient" in self.positives

    def plan(self, rows: GlobalRows) -> Plan:
        """See `PlansAhead`."""
        return make_plan(
            rows.labels(self.tasks),
            rows.counts,
            rows.rank,
            sweep=rows.sweep() if self._by_sweep else None,
            subject=rows.subject() if self._by_subject else None,
            denominator=self.denominator,
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
            sweep=batch.sweep if self._by_sweep else None,
            subject=batch.subject if self._by_subject else None,
            denominator=self.denominator,
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
    """MTCE ([P1] eq. 1) of T linear heads; STSL with one.

    Where labels are missing, labelled (clip, task) `pairs` weigh the same, or `tasks` do.
    """

    tasks: list[str]
    equal: TaskWeighting = "pairs"

    def __call__(self, outputs: list[Tensor], batch: Batch) -> Tensor:
        labels = _labels(self.tasks, batch)
        return multitask_cross_entropy(outputs, labels, valid=batch.valid, equal=self.equal)

    def weight(self, batch: Batch) -> Tensor:
        if self.equal == "tasks":
            return batch.valid.sum()
        return ((_labels(self.tasks, batch) != MISSING_CLASS) & batch.valid).sum()


def _labels(tasks: list[str], batch: Batch) -> Tensor:
    """Stack the labels of some tasks, int64 (T, N)."""
    return torch.stack([batch.labels[task] for task in tasks])
