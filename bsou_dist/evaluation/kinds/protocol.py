"""What a kind of task tells about its predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd

from bsou_dist.evaluation.figures import Figure
from bsou_dist.evaluation.metrics import Scored


@dataclass(frozen=True)
class NamedMetric:
    """A metric as records name it."""

    name: str
    figure: Figure
    """How it is estimated, and with that which interval it has."""


class Count(NamedTuple):
    """How many units, and of how many patients, are such as `name` says."""

    name: str
    n: int
    n_patients: int


class LabelledFeatures(NamedTuple):
    """Rows that a linear model is fitted to or chosen by."""

    features: np.ndarray
    """(n, C), NaN where missing."""
    labels: np.ndarray
    """(n,), none missing."""


class EvaluationKind(Protocol):
    """The evaluation of one kind of task. `task` is always a task of that kind."""

    primary: tuple[str, str]
    """The two figures of a table's cell; the first carries the interval and the margin."""
    lower_is_better: bool
    """Of the primary figures."""
    compared: tuple[str, ...]
    """Names of the metrics by which methods are compared with each other."""

    def is_recalibrated(self, task: Any) -> bool:
        """Whether validation exams say how certain predictions are.

        Those of every second patient must then not choose the checkpoint
        (`aggregate.is_for_calibration`).
        """

    def scored(
        self, task: Any, units: pd.DataFrame, validation: pd.DataFrame | None = None
    ) -> Scored:
        """Arrays of labelled and predicted rows of `predictions.parquet`.

        `validation` holds such rows of the validation split, by which a kind may fix a threshold.
        """

    def metrics(self, task: Any, units: Scored) -> list[NamedMetric]:
        """All that is reported of these units, the primary figures first."""

    def subgroup_metrics(self, task: Any) -> tuple[str, ...]:
        """Names of the metrics that are given by subgroup; the first two are drawn."""

    def counts(self, task: Any, units: Scored, patients: np.ndarray) -> list[Count]:
        """Count the units, whose `patients` are (n,), such as those of a rare class."""

    def fixed(self, task: Any, units: Scored) -> dict[str, float]:
        """What was fixed without these units before they were evaluated, such as a threshold."""

    def constant_predictions(self, task: Any, units: Scored, train_labels: pd.Series) -> Scored:
        """The same units as who knows the training labels, and sees no picture, predicts them."""

    def from_age(
        self, task: Any, units: pd.DataFrame, train: pd.DataFrame, validation: pd.DataFrame | None
    ) -> Scored | None:
        """The units as who knows their gestational age, and sees no picture, predicts them.

        All are rows of `predictions.parquet`; predictions among them are not looked at. None where
        age can't be learnt from or says nothing, as of a task that is the age itself.
        """

    def linear_predictions(
        self, task: Any, train: LabelledFeatures, valid: LabelledFeatures, features: np.ndarray
    ) -> pd.DataFrame:
        """What a linear model predicts for rows of features (n, C), in the columns of
        `predictions.parquet` that a prediction fills.

        It is fitted to `train`, with the penalty that serves `valid` best.
        """

    def exam_values(
        self, task: Any, units: pd.DataFrame, valid: pd.DataFrame | None
    ) -> pd.DataFrame | None:
        """A row per exam from rows per clip; None where clips of an exam are not averaged.

        `valid` holds the clips of the validation split, by which a kind may recalibrate what it
        says about its own certainty; None where those are what is evaluated.
        """
