"""What can be asked of a clip or an exam: one small record per task.

Nothing outside this file and the configs names a clinical task.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

from bsou_dist.common.errors import InputError

SWEEPS: tuple[str, ...] = ("M", "L", "R", "C1", "C2", "C3")
"""Canonical sweeps, in the order of an exam's six slots."""

MISSING_CLASS = -1
"""Class index of a missing label."""


class Task(BaseModel):
    """One question, asked of every clip or of every exam.

    A classification reads its class from the ``label`` column, either as text that is one of
    ``classes`` or, with ``bin_edges``, as a number that falls in one of ``len(bin_edges) + 1``
    half-open bins [edge, next edge). A regression reads a number in ``unit``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: Literal["classification", "regression"]
    level: Literal["clip", "exam"]
    label: str
    classes: tuple[str, ...] = ()
    bin_edges: tuple[float, ...] = ()
    unit: str | None = None
    loss: Literal["cross_entropy", "gaussian"]

    @model_validator(mode="after")
    def _check(self) -> Task:
        if self.kind == "classification":
            if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
                raise ValueError(
                    f"task {self.name!r} needs at least two distinct classes, got "
                    f"{list(self.classes)}"
                )
            if self.bin_edges and len(self.bin_edges) != len(self.classes) - 1:
                raise ValueError(
                    f"task {self.name!r}: {len(self.classes)} classes need "
                    f"{len(self.classes) - 1} bin edges"
                )
            if list(self.bin_edges) != sorted(self.bin_edges):
                raise ValueError(
                    f"task {self.name!r}: bin_edges must rise, got {list(self.bin_edges)}"
                )
            if self.loss != "cross_entropy":
                raise ValueError(
                    f"task {self.name!r} is a classification: its loss is 'cross_entropy'"
                )
        else:
            if self.classes or self.bin_edges:
                raise ValueError(
                    f"task {self.name!r} is a regression: it takes a unit, not classes or bin_edges"
                )
            if not self.unit:
                raise ValueError(
                    f"task {self.name!r} is a regression: name its unit, such as 'days' or 'cm'"
                )
            if self.loss != "gaussian":
                raise ValueError(f"task {self.name!r} is a regression: its loss is 'gaussian'")
        return self

    def encode(self, value: Any) -> int | float:
        """Class index (``MISSING_CLASS`` if missing) or target in ``unit`` (NaN if missing).

        Raises:
            InputError: the value is present and not one of the classes, or not a number.
        """
        missing = value is None or value != value or value == ""  # NaN is not equal to itself
        if self.kind == "regression":
            return math.nan if missing else self._number(value)
        if missing:
            return MISSING_CLASS
        if self.bin_edges:
            return bisect_right(self.bin_edges, self._number(value))
        if value not in self.classes:
            raise InputError(
                f"{self.label} is {value!r}; task {self.name!r} allows {', '.join(self.classes)} "
                "or empty"
            )
        return self.classes.index(value)

    def _number(self, value: Any) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise InputError(
                f"{self.label} is {value!r}; task {self.name!r} wants a number or an empty cell"
            )
        return number


def _classification(
    name: str,
    level: Literal["clip", "exam"],
    label: str,
    classes: tuple[str, ...],
    bin_edges: tuple[float, ...] = (),
) -> Task:
    return Task(
        name=name,
        kind="classification",
        level=level,
        label=label,
        classes=classes,
        bin_edges=bin_edges,
        loss="cross_entropy",
    )


def _regression(name: str, label: str, unit: str) -> Task:
    return Task(name=name, kind="regression", level="clip", label=label, unit=unit, loss="gaussian")


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        # Bin edges are ours (21, 28 and 34 weeks): the paper does not state its own.
        _classification(
            "ga_bin",
            "clip",
            "ga_days",
            ("<21w", "21-28w", "28-34w", ">=34w"),
            (147.0, 196.0, 238.0),
        ),
        _classification("presentation", "exam", "presentation", ("cephalic", "non_cephalic")),
        _classification("placenta", "exam", "placenta", ("anterior", "posterior")),
        _classification("sweep", "clip", "sweep", SWEEPS),
        _classification("multiple", "clip", "fetuses", ("single", "multiple"), (2.0,)),
        _regression("ga", "ga_days", "days"),
        _regression("dvp", "dvp_cm", "cm"),
    )
}
"""The tasks of the paper (Table 1), by name."""
