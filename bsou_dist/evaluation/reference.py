"""References: what can be read off without a network, predicted for the same units.

They stand beside the methods in every table: a network has shown nothing where it does no better.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from bsou_dist.common.sweeps import SWEEPS
from bsou_dist.evaluation.kinds.make import evaluation_of
from bsou_dist.evaluation.kinds.protocol import LabelledFeatures
from bsou_dist.tasks.task import Task

INTENSITY_ONLY = "intensity"
"""Prefix of the records of the reference by brightness, length, size and metadata."""

_CODED = ("device", "operator", "site")
_PREDICTED = ("prediction", "variance", "probabilities")


def intensity_predictions(
    predictions: pd.DataFrame, tasks: Mapping[str, Task], features: pd.DataFrame
) -> pd.DataFrame:
    """The rows of `predictions`, as a linear model of intensity features predicts them.

    Of a clip these are its own features, its sweep (unless labels differ between the clips of an
    exam, and may be the sweep itself) and what is known of the exam (device, operator, site, BMI);
    of an exam the means over its clips, all and by sweep. One model for each task and
    set, fitted to the training labels of the set (of set `main` where it has none). No test label
    is looked at.

    Args:
        predictions: rows in the columns of `predictions.parquet`.
        tasks: the run's tasks by name.
        features: (clips, C) by key, with columns `exam` and `sweep` besides.

    Returns:
        The rows of tasks and sets that have labels to fit to; of the clips, those with features.
    """
    of_exams = _exam_features(features)
    numbers = features.drop(columns=["exam", "sweep"])
    parts = []
    for names, rows in predictions.groupby(["task", "set", "level"], sort=False):
        name, _, level = map(str, names)
        train = rows[rows["split"].eq("train")]
        if train["label"].isna().all():
            of_task = predictions["task"].eq(name) & predictions["level"].eq(level)
            is_main = predictions["set"].eq("main") & predictions["split"].eq("train")
            train = predictions[of_task & is_main]
        table = of_exams if level == "exam" else numbers
        metadata = _Metadata.of(train)
        found = _predict(tasks[name], rows, train, table, metadata)
        if found is not None:
            parts.append(found)
    if not parts:
        return predictions.iloc[:0]
    return pd.concat(parts, ignore_index=True)


class _Metadata:
    """What is known of an exam, as numbers: a column for each value that occurs in training."""

    def __init__(self, values: dict[str, list[str]], *, with_sweep: bool) -> None:
        self._values = values
        self._with_sweep = with_sweep

    @classmethod
    def of(cls, train: pd.DataFrame) -> _Metadata:
        values = {name: sorted(train[name].dropna().astype(str).unique()) for name in _CODED}
        differs_within_exam = bool(train.groupby("exam")["label"].nunique().gt(1).any())
        return cls(values, with_sweep=not differs_within_exam)

    def numbers(self, rows: pd.DataFrame) -> np.ndarray:
        """(n, columns)."""
        bmi = rows["bmi"].to_numpy(float)
        columns = [bmi, np.isnan(bmi).astype(float)]
        for name, values in self._values.items():
            text = rows[name].astype(str)
            columns += [text.eq(value).to_numpy(float) for value in values]
        if self._with_sweep:
            columns += [rows["sweep"].eq(sweep).to_numpy(float) for sweep in SWEEPS]
        return np.stack(columns, axis=1)


def _exam_features(features: pd.DataFrame) -> pd.DataFrame:
    """Means over the clips of each exam: of all, and of each canonical sweep; by exam."""
    numbers = features.drop(columns="sweep")
    tables = [numbers.groupby("exam").mean()]
    for sweep in SWEEPS:
        of_sweep = numbers[features["sweep"].eq(sweep)]
        tables.append(of_sweep.groupby("exam").mean().add_prefix(f"{sweep}_"))
    return pd.concat(tables, axis="columns")


def _predict(
    task: Task,
    rows: pd.DataFrame,
    train: pd.DataFrame,
    table: pd.DataFrame,
    metadata: _Metadata,
) -> pd.DataFrame | None:
    """Rows as predicted; None where there is nothing to fit to."""

    def with_features(chosen: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
        known = chosen[chosen["key"].isin(table.index)]
        own = table.loc[known["key"]].to_numpy(float)
        return known, np.concatenate([own, metadata.numbers(known)], axis=1)

    def labelled(chosen: pd.DataFrame) -> LabelledFeatures:
        known, numbers = with_features(chosen[chosen["label"].notna()])
        return LabelledFeatures(numbers, known["label"].to_numpy(float))

    fitted = labelled(train)
    if not len(fitted.labels):
        return None
    valid = labelled(rows[rows["split"].eq("valid")])
    if not len(valid.labels):
        valid = fitted
    known, numbers = with_features(rows)
    found = evaluation_of(task).linear_predictions(task, fitted, valid, numbers)
    blank = known.assign(prediction=np.nan, variance=np.nan, probabilities=None)
    return blank.assign(**{name: found[name].to_numpy() for name in _PREDICTED if name in found})
