"""What a kind of task tells about its predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import pandas as pd

from bsou_dist.evaluation.figures import Figure
from bsou_dist.evaluation.metrics import Scored


@dataclass(frozen=True)
class NamedMetric:
    """A metric as records name it."""

    name: str
    figure: Figure
    """How it is estimated, and with that which interval it has."""


class EvaluationKind(Protocol):
    """The evaluation of one kind of task. `task` is always a task of that kind."""

    primary: tuple[str, str]
    """The two figures of a table's cell; the first carries the interval and the margin."""
    lower_is_better: bool
    """Of the primary figures."""
    compared: tuple[str, ...]
    """Names of the metrics by which methods are compared with each other."""

    def scored(self, task: Any, units: pd.DataFrame) -> Scored:
        """Arrays of labelled and predicted rows of `predictions.parquet`."""

    def metrics(self, task: Any, units: Scored) -> list[NamedMetric]:
        """All that is reported of these units, the primary figures first."""

    def constant(self, task: Any, train_labels: pd.Series) -> float:
        """The prediction of who knows the training labels and sees no picture."""

    def predict_constant(self, task: Any, units: Scored, constant: float) -> Scored:
        """The same units, all predicted as `constant`."""

    def exam_values(
        self, task: Any, units: pd.DataFrame, valid: pd.DataFrame | None
    ) -> pd.DataFrame | None:
        """A row per exam from rows per clip; None where clips of an exam are not averaged.

        `valid` holds the clips of the validation split, by which a kind may recalibrate what it
        says about its own certainty; None where those are what is evaluated.
        """
