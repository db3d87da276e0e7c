"""From ``predictions.parquet`` to records: one row per task, set, level and metric, with its
interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from bsou_dist.common.errors import InputError
from bsou_dist.evaluation import metrics
from bsou_dist.evaluation.aggregate import exam_predictions, recalibrate_variance
from bsou_dist.evaluation.baseline import constant_prediction, predict_constant
from bsou_dist.evaluation.bootstrap import (
    accuracy_interval,
    bootstrap_difference,
    bootstrap_interval,
)
from bsou_dist.evaluation.metrics import Metric, Scored
from bsou_dist.tasks import Task

RECORD_COLUMNS = [
    "task",
    "set",
    "level",
    "metric",
    "value",
    "low",
    "high",
    "n",
    "n_patients",
    "interval",
]

SHARES = frozenset({"accuracy", "within_7_days", "within_14_days", "coverage_95"})
"""Metrics that are shares of units: exact intervals where patients contribute one unit each."""

LOWER_IS_BETTER = frozenset({"mae", "abs_error_std"})


def primary_metrics(task: Task) -> tuple[str, str]:
    """The two figures of a cell in the paper's tables; the first carries the interval and the
    margin.
    """
    return ("accuracy", "macro_f1") if task.kind == "classification" else ("mae", "abs_error_std")


def evaluate_predictions(
    predictions: pd.DataFrame,
    tasks: Mapping[str, Task],
    *,
    split: str = "test",
    seed: int = 0,
    resamples: int = 2000,
) -> pd.DataFrame:
    """Metrics of every task and set found in ``predictions``.

    Rows without a label are left out. Regression tasks predicted per clip are evaluated at clip
    level and, after inverse-variance averaging, at exam level, with variances recalibrated on the
    exams of split ``valid``. For the primary metrics m there are three rows: ``m``, ``baseline_m``
    (majority class or mean of the training labels of the same set, or of set ``main`` where the set
    has no training split) and ``margin_m``, by how much the model is better than the baseline
    (positive is better, whatever the metric), its interval from the same resamples.

    Args:
        predictions: rows in the columns of ``predictions.parquet``; those of split ``train`` need
            only their label.
        split: which split to evaluate.
        seed, resamples: of the bootstrap over patients.

    Returns:
        Records with ``RECORD_COLUMNS``; low and high bound 95 % intervals; ``interval`` is exact or
        bootstrap.

    Raises:
        InputError: an unknown task, nothing to evaluate, a row without prediction, or no training
            labels.
    """
    unknown = sorted(set(predictions["task"]) - set(tasks))
    if unknown:
        raise InputError(f"predictions of unknown tasks {unknown}; known are {', '.join(tasks)}")
    repeated = predictions.duplicated(["task", "level", "set", "split", "key"])
    if repeated.any():
        first = predictions.loc[repeated, "key"].iloc[0]
        raise InputError(
            f"{int(repeated.sum())} predictions are there twice, first {first!r}; write a clip or "
            "exam "
            "once per task, set and split"
        )
    rows: list[tuple[object, ...]] = []
    for task, set_name, level, units, train_labels in labelled_units(predictions, tasks, split):
        for name, value, low, high, n, n_patients, kind in _evaluate_units(
            task, units, train_labels, seed, resamples
        ):
            rows.append((task.name, set_name, level, name, value, low, high, n, n_patients, kind))
    if not rows:
        raise InputError(
            f"no labelled predictions of split {split!r}; predictions hold "
            f"{', '.join(sorted(predictions['split'].dropna().unique())) or 'no rows'}"
        )
    return pd.DataFrame(rows, columns=RECORD_COLUMNS)


def labelled_units(
    predictions: pd.DataFrame,
    tasks: Mapping[str, Task],
    split: str,
) -> Iterator[tuple[Task, str, str, pd.DataFrame, pd.Series]]:
    """(task, set, level, rows to evaluate, training labels) for every task, set and level that has
    labels.
    """
    labelled = predictions[predictions["label"].notna()]
    for (name, level), rows in labelled.groupby(["task", "level"], sort=False):
        task, train = tasks[str(name)], rows[rows["split"].eq("train")]
        for set_name, units in rows[rows["split"].eq(split)].groupby("set", sort=False):
            own_train = _own_or_main(train, str(set_name))
            yield task, str(set_name), str(level), units, own_train["label"]
            if task.kind == "regression" and level == "clip":
                exams = exam_predictions(units)
                if split != "valid":
                    valid = _own_or_main(
                        rows[rows["split"].eq("valid") & rows["prediction"].notna()], str(set_name)
                    )
                    exams = recalibrate_variance(exam_predictions(valid), exams)
                yield task, str(set_name), "exam", exams, own_train.drop_duplicates("exam")["label"]


def _own_or_main(rows: pd.DataFrame, set_name: str) -> pd.DataFrame:
    """A set evaluated without tuning has no rows of its own for this; the model was tuned on the
    main set.
    """
    own = rows[rows["set"].eq(set_name)]
    return own if len(own) else rows[rows["set"].eq("main")]


def scored(task: Task, units: pd.DataFrame) -> Scored:
    """Arrays of the rows; InputError if one has no prediction."""
    unpredicted = units["prediction"].isna()
    if unpredicted.any():
        raise InputError(
            f"{int(unpredicted.sum())} labelled rows of task {task.name!r} have no prediction, "
            "first "
            f"{units.loc[unpredicted, 'key'].iloc[0]!r}"
        )
    label, prediction = units["label"].to_numpy(float), units["prediction"].to_numpy(float)
    if task.kind == "regression":
        known = units["variance"].notna().all()
        return Scored(
            label, prediction, variance=units["variance"].to_numpy(float) if known else None
        )
    known = units["probabilities"].notna().all()
    return Scored(label, prediction, np.stack(units["probabilities"].tolist()) if known else None)


def _metrics_of(task: Task, units: Scored) -> dict[str, Metric]:
    if task.kind == "classification":
        found: dict[str, Metric] = {"accuracy": metrics.accuracy, "macro_f1": metrics.macro_f1}
        return found | ({"auc": metrics.auc} if units.probabilities is not None else {})
    found = {
        "mae": metrics.mae,
        "abs_error_std": metrics.abs_error_std,
        "bias": metrics.bias,
        "error_std": metrics.error_std,
    }
    if task.unit == "days":
        found |= {"within_7_days": metrics.within(7.0), "within_14_days": metrics.within(14.0)}
    return found | ({"coverage_95": metrics.coverage_95} if units.variance is not None else {})


def _evaluate_units(
    task: Task,
    units: pd.DataFrame,
    train_labels: pd.Series,
    seed: int,
    resamples: int,
) -> Iterator[tuple[object, ...]]:
    model, patients = scored(task, units), units["patient"].to_numpy()
    constant = predict_constant(task, model, constant_prediction(task, train_labels))
    for name, metric in _metrics_of(task, model).items():
        interval = accuracy_interval if name in SHARES else bootstrap_interval
        yield (name, *interval(metric, model, patients, resamples=resamples, seed=seed))
        if name not in primary_metrics(task):
            continue
        yield (
            f"baseline_{name}",
            *interval(metric, constant, patients, resamples=resamples, seed=seed),
        )
        better, worse = (constant, model) if name in LOWER_IS_BETTER else (model, constant)
        yield (
            f"margin_{name}",
            *bootstrap_difference(metric, better, worse, patients, resamples=resamples, seed=seed),
        )
