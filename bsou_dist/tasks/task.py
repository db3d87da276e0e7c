"""One question that is asked of every clip or of every exam."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from bsou_dist.common.errors import InputError


class Task(BaseModel, ABC):
    """What all kinds of task have in common; `kinds/` adds the rest.

    A subclass is the torch-free half of a kind: it reads labels. Heads, losses, metrics and table
    cells of a kind are found by its name in `model/`, `objective/`, `evaluation/` and `report/`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    label_dtype: ClassVar[type] = np.float64
    """Type of encoded labels: `np.int64` for class indices, `np.float64` for numbers."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")
    """Letters, digits and '_': it becomes part of folders, metric names and table headings."""
    kind: str
    level: Literal["clip", "exam"] = "clip"
    """What a prediction is made for."""
    label: str = Field(min_length=1)
    """Column of the cohort table that holds the label."""
    needs_scale: bool = False
    """Whether the label is carried by the size of anatomy, such as a length, a weight or an age: it
    is then missing for a clip whose pixel spacing is unknown.
    """
    group: str = "Other tasks"
    """Heading over the task's column in tables."""
    order: int = 0
    """Place among the tasks of its group: lower comes first, equal ones as they are listed."""

    @property
    @abstractmethod
    def allowed_labels(self) -> str:
        """What a cell of the label's column may hold, in words."""

    @property
    def class_count(self) -> int:
        """Number of classes that labels are indices of; 0 where labels are no indices."""
        return 0

    @abstractmethod
    def encode(self, value: Any) -> int | float:
        """Turn a cell of the cohort table into a label, or into what stands for a missing one.

        Raises:
            InputError: the cell is filled, and not with what `allowed_labels` says.
        """

    @abstractmethod
    def for_stage1(self, train_labels: np.ndarray) -> Task:
        """Return the task with classes that stage 1 compares clips by.

        Args:
            train_labels: encoded labels of the training split of stage 1, (n,).

        Raises:
            InputError: no classes can be made of these labels.
        """

    @abstractmethod
    def summarise(self, labels: np.ndarray) -> list[str]:
        """Describe encoded labels, (n,), in a few lines for a person."""

    def read_number(self, value: Any) -> float:
        """Read a finite number from a filled cell.

        Raises:
            InputError: the cell holds something else.
        """
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise self.refusal(value)
        return number

    def refusal(self, value: Any) -> InputError:
        """Make the error for a cell that holds no label of this task."""
        return InputError(
            f"{self.label} is {value!r}; task {self.name!r} allows {self.allowed_labels} or empty"
        )


def is_empty(value: Any) -> bool:
    """Whether a cell of a table holds nothing: None, NaN or empty text."""
    is_nan = value != value  # NaN alone is not equal to itself
    return value is None or bool(is_nan) or value == ""
