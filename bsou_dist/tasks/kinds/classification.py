"""Tasks whose answer is one of some classes."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from bsou_dist.tasks.labels import MISSING_CLASS
from bsou_dist.tasks.task import Task, is_empty


class ClassificationTask(Task):
    """A class per clip or exam.

    The label's column holds the class as text. With `bin_edges` it holds a number instead, which
    falls into one of `len(bin_edges) + 1` half-open bins [edge, next edge).
    """

    label_dtype: ClassVar[type] = np.int64

    kind: Literal["classification"] = "classification"
    classes: tuple[str, ...]
    """Names of the classes, at least two; of bins, from the lowest to the highest."""
    bin_edges: tuple[float, ...] = ()
    """Rising numbers between the classes, one fewer than there are classes."""
    differs_within_exam: bool = False
    """Whether each clip of an exam has a class of its own, such as its sweep: then exams have no
    value.
    """
    positive: str | None = None
    """Of two classes the one that is looked for, by default the last: sensitivity, predictive
    values and the precision-recall curve are of it.
    """
    wanted_sensitivity: float | None = Field(default=None, gt=0, le=1)
    """Sensitivity on the validation split that the threshold is chosen for; by default it is the
    one of the highest Youden index, sensitivity + specificity - 1.
    """

    @field_validator("classes", mode="before")
    @classmethod
    def _classes_as_text(cls, classes: Any) -> Any:
        """YAML reads `no` and `yes` as truth values, and `0` as a number; cells are text."""
        if not isinstance(classes, list | tuple):
            return classes
        if any(isinstance(name, bool) for name in classes):
            raise ValueError(
                f"YAML reads yes, no, on, off, true and false as truth values, got "
                f"{list(classes)}; put the classes in quotes"
            )
        return tuple(str(name) if isinstance(name, int) else name for name in classes)

    @field_validator("classes")
    @classmethod
    def _distinct_classes(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if len(classes) < 2 or len(set(classes)) < len(classes) or "" in classes:
            raise ValueError(
                f"at least two classes are needed, all different and none empty, got "
                f"{list(classes)}"
            )
        return classes

    @field_validator("bin_edges")
    @classmethod
    def _rising_edges(cls, edges: tuple[float, ...]) -> tuple[float, ...]:
        if any(not low < high for low, high in pairwise(edges)):
            raise ValueError(f"bin edges must rise, got {list(edges)}; put them in order")
        return edges

    @model_validator(mode="after")
    def _an_edge_between_classes(self) -> ClassificationTask:
        wanted = len(self.classes) - 1
        if self.bin_edges and len(self.bin_edges) != wanted:
            raise ValueError(
                f"{len(self.classes)} classes have {wanted} bin edges between them, got "
                f"{list(self.bin_edges)}"
            )
        return self

    @model_validator(mode="after")
    def _one_of_two_is_positive(self) -> ClassificationTask:
        is_set = self.positive is not None or self.wanted_sensitivity is not None
        if is_set and len(self.classes) != 2:
            raise ValueError(
                f"'positive' and 'wanted_sensitivity' are for two classes, and there are "
                f"{len(self.classes)}; leave them out"
            )
        if self.positive is not None and self.positive not in self.classes:
            raise ValueError(
                f"positive is {self.positive!r}; it is one of the classes {', '.join(self.classes)}"
            )
        return self

    @property
    def positive_class(self) -> int | None:
        """Index of the class that is looked for; None with more than two classes."""
        if len(self.classes) != 2:
            return None
        return 1 if self.positive is None else self.classes.index(self.positive)

    @property
    def allowed_labels(self) -> str:
        """See `Task.allowed_labels`."""
        return "a number" if self.bin_edges else ", ".join(self.classes)

    @property
    def class_count(self) -> int:
        """See `Task.class_count`."""
        return len(self.classes)

    def encode(self, value: Any) -> int:
        """Return the index of the cell's class, `MISSING_CLASS` for an empty cell."""
        if is_empty(value):
            return MISSING_CLASS
        if self.bin_edges:
            return bisect_right(self.bin_edges, self.read_number(value))
        if value not in self.classes:
            raise self.refusal(value)
        return self.classes.index(value)

    def for_stage1(self, train_labels: np.ndarray) -> ClassificationTask:
        """Return the task itself, which has classes."""
        return self

    def summarise(self, labels: np.ndarray) -> list[str]:
        """Count every class, and the missing labels."""
        lines = [f"by label {self.name}:"]
        for index, name in enumerate(self.classes):
            lines.append(f"  {name:<24} {np.count_nonzero(labels == index):>8}")
        missing = np.count_nonzero(labels == MISSING_CLASS)
        lines.append(f"  {'missing':<24} {missing:>8}")
        return lines
