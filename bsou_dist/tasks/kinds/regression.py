"""Tasks whose answer is a number in a unit."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator

from bsou_dist.common.errors import InputError
from bsou_dist.tasks.kinds.classification import ClassificationTask
from bsou_dist.tasks.labels import is_missing
from bsou_dist.tasks.task import Task, is_empty

STAGE1_BINS = 4
"""So many classes stage 1 compares numbers by, as [P1] does with gestational age."""


class RegressionTask(Task):
    """A number per clip or exam.

    Stage 1 compares classes: there a regression takes part by bins of its number, of `bin_edges` or
    else of the quartiles of its training labels.
    """

    kind: Literal["regression"] = "regression"
    unit: str = Field(min_length=1, description="of the label, such as 'days' or 'cm'")
    decimals: int = Field(default=2, ge=0, le=6)
    """How many a table shows."""
    within: tuple[float, ...] = ()
    """Errors, in the unit, for which the share of predictions that are no further off is reported,
    such as 7 and 14 days.
    """
    bin_edges: tuple[float, ...] = ()
    """Rising numbers, in the unit, that part the bins of stage 1."""
    differs_within_exam: bool = False
    """Whether each clip of an exam has a label of its own, such as a measurement per sweep. The
    exam's is then their mean; else two labels in one exam are a fault of the table.
    """

    @field_validator("bin_edges", "within")
    @classmethod
    def _rising(cls, numbers: tuple[float, ...]) -> tuple[float, ...]:
        if any(not low < high for low, high in pairwise(numbers)):
            raise ValueError(f"these numbers must rise, got {list(numbers)}; put them in order")
        return numbers

    @property
    def allowed_labels(self) -> str:
        """See `Task.allowed_labels`."""
        return "a number"

    def encode(self, value: Any) -> float:
        """Return the cell's number in the unit, NaN for an empty cell."""
        return math.nan if is_empty(value) else self.read_number(value)

    def for_stage1(self, train_labels: np.ndarray) -> ClassificationTask:
        """Return the classification by bins that stage 1 trains on."""
        edges = self.bin_edges or self._quartiles(train_labels)
        between = [f"{low:g}-{high:g} {self.unit}" for low, high in pairwise(edges)]
        shared = self.model_dump(include=set(Task.model_fields) - {"kind"})
        return ClassificationTask(
            **shared,
            classes=(f"<{edges[0]:g} {self.unit}", *between, f">={edges[-1]:g} {self.unit}"),
            bin_edges=edges,
        )

    def _quartiles(self, train_labels: np.ndarray) -> tuple[float, ...]:
        known = train_labels[~is_missing(train_labels)]
        shares = np.arange(1, STAGE1_BINS) / STAGE1_BINS
        # No interpolation: an edge is a label that occurs, whatever the library's version.
        edges = np.quantile(known, shares, method="lower") if len(known) else np.array([])
        if len(np.unique(edges)) < STAGE1_BINS - 1 or edges[0] <= known.min():
            raise InputError(
                f"task {self.name!r}: stage 1 compares numbers by {STAGE1_BINS} bins between the "
                f"quartiles of its training labels, and these have too few different values "
                f"({len(np.unique(known))} in {len(known)} labels); give the task bin_edges"
            )
        return tuple(float(edge) for edge in edges)

    def summarise(self, labels: np.ndarray) -> list[str]:
        """Count the known labels, with their mean and range."""
        known = labels[~is_missing(labels)]
        if not len(known):
            return [f"label {self.name}: missing everywhere"]
        return [
            f"label {self.name}: {len(known)} known, mean {known.mean():.1f}, "
            f"{known.min():.1f} to {known.max():.1f} {self.unit}"
        ]
