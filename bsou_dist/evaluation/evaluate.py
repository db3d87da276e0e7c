"""From `predictions.parquet` to records: one row per task, set, level and metric, with its
interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from bsou_dist.common.errors import InputError
from bsou_dist.evaluation.aggregate import AGE_COLUMN
from bsou_dist.evaluation.intervals import Interval, difference_of, interval_of
from bsou_dist.evaluation.kinds.make import evaluation_of
from bsou_dist.evaluation.metrics import Scored
from bsou_dist.tasks.task import Task

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

BASELINE_PREFIX = "baseline_"
"""What the metrics of the best constant begin with."""
AGE_ONLY_PREFIX = "age_only_"
"""What the metrics of who knows gestational age alone begin with."""
NO_INTERVAL = "none"
"""What column `interval` says of a count or a threshold."""


@dataclass(frozen=True)
class LabelledUnits:
    """Clips or exams of one task and set that are evaluated together."""

    task: Task
    set_name: str
    level: str
    rows: pd.DataFrame
    """Rows of `predictions.parquet`, all with a label."""
    train: pd.DataFrame
    """Labelled rows of the training split, by which who sees no picture predicts."""
    validation: pd.DataFrame | None = None
    """Rows of the validation split by which thresholds are fixed; None where there are none, or
    where they are what is evaluated.
    """


def evaluate_predictions(
    predictions: pd.DataFrame,
    tasks: Mapping[str, Task],
    *,
    split: str = "test",
    references: Mapping[str, pd.DataFrame] | None = None,
) -> pd.DataFrame:
    """Compute the metrics of every task and set found in `predictions`.

    Rows without a label are left out. What is predicted per clip and averaged over exams is
    evaluated at both levels, certainties recalibrated and thresholds fixed on split `valid`. For
    each metric m there are rows `m` and `baseline_m`, that of the median or the majority class of
    the training labels of the same set (of set `main` where the set has no training split); and
    for the primary ones `margin_m`, by how much the model is better than the baseline (positive is
    better, whatever the metric), paired over units. Rows `age_only_m` are those of who knows
    gestational age alone, where a task has classes and ages are known. Counts of classes and
    thresholds have rows without an interval.

    Several trainings of one method are told apart by a column `seed`. A figure is then the mean
    over seeds, and its interval holds what patients and what seeds differ by.

    Args:
        predictions: rows in the columns of `predictions.parquet`, and `seed` if there are several;
            those of split `train` need only their label.
        tasks: the run's tasks by name.
        split: which split to evaluate.
        references: by a prefix, what others predict for the same units (see `reference`): a
            row `{prefix}_m` for each of their metrics m.

    Returns:
        Records with `RECORD_COLUMNS`; low and high bound 95 % intervals, NaN where `interval` is
        `intervals.NOT_ESTIMABLE`. They don't depend on the order of rows or the names of patients.

    Raises:
        InputError: an unknown task, nothing to evaluate, a row without prediction, no training
            labels, or seeds with different units.
    """
    _check_known_and_single(predictions, tasks)
    rows: list[tuple[object, ...]] = []
    for seeds in units_of_seeds(predictions, tasks, split):
        names = (seeds[0].task.name, seeds[0].set_name, seeds[0].level)
        for metric, interval in _evaluate_units(seeds):
            rows.append((*names, metric, *interval))
    for prefix, reference in (references or {}).items():
        rows += _reference_rows(prefix, reference, tasks, split)
    if not rows:
        splits = ", ".join(sorted(predictions["split"].dropna().unique())) or "no rows"
        raise InputError(f"no labelled predictions of split {split!r}; predictions hold {splits}")
    return pd.DataFrame(rows, columns=RECORD_COLUMNS)


def _reference_rows(
    prefix: str, predictions: pd.DataFrame, tasks: Mapping[str, Task], split: str
) -> list[tuple[object, ...]]:
    """Records of what a reference predicts."""
    rows: list[tuple[object, ...]] = []
    for units in labelled_units(predictions, tasks, split):
        units_scored = scored(units)
        patients = units.rows["patient"].to_numpy()
        names = (units.task.name, units.set_name, units.level)
        for named in evaluation_of(units.task).metrics(units.task, units_scored):
            interval = interval_of(named.figure, [units_scored], patients)
            rows.append((*names, f"{prefix}_{named.name}", *interval))
    return rows


def _check_known_and_single(predictions: pd.DataFrame, tasks: Mapping[str, Task]) -> None:
    unknown = sorted(set(predictions["task"]) - set(tasks))
    if unknown:
        raise InputError(f"predictions of unknown tasks {unknown}; known are {', '.join(tasks)}")
    identity = ["task", "level", "set", "split", "key"]
    if "seed" in predictions:
        identity.append("seed")
    repeated = predictions.duplicated(identity)
    if repeated.any():
        first = predictions.loc[repeated, "key"].iloc[0]
        raise InputError(
            f"{int(repeated.sum())} predictions are there twice, first {first!r}; write a clip or "
            "exam once per task, set and split (and tell trainings apart by a column 'seed')"
        )


def units_of_seeds(
    predictions: pd.DataFrame, tasks: Mapping[str, Task], split: str
) -> list[list[LabelledUnits]]:
    """Give what `labelled_units` gives, for each seed, in one order of units.

    Returns:
        A list per task, set and level; in it the same units as predicted after each training.

    Raises:
        InputError: the seeds have different units.
    """
    if "seed" in predictions:
        parts = [rows for _, rows in predictions.groupby("seed", sort=True)]
    else:
        parts = [predictions]
    by_name: dict[tuple[str, str, str], list[LabelledUnits]] = {}
    for part in parts:
        for units in labelled_units(part, tasks, split):
            name = (units.task.name, units.set_name, units.level)
            in_order = units.rows.sort_values("key", ignore_index=True)
            by_name.setdefault(name, []).append(replace(units, rows=in_order))
    for (task, set_name, level), seeds in by_name.items():
        keys = [units.rows["key"] for units in seeds]
        if len(keys) < len(parts) or not all(keys[0].equals(other) for other in keys):
            raise InputError(
                f"the seeds have predictions of different {level}s of task {task!r}, set "
                f"{set_name!r}; every training must predict the same ones"
            )
    return list(by_name.values())


def labelled_units(
    predictions: pd.DataFrame, tasks: Mapping[str, Task], split: str
) -> Iterator[LabelledUnits]:
    """Give the units to evaluate for every task, set and level that has labels in a split."""
    labelled = predictions[predictions["label"].notna()]
    for (name, level), rows in labelled.groupby(["task", "level"], sort=False):
        task = tasks[str(name)]
        train = rows[rows["split"].eq("train")]
        valid = rows[rows["split"].eq("valid") & rows["prediction"].notna()]
        evaluated = rows[rows["split"].eq(split)]
        for set_label, units in evaluated.groupby("set", sort=False):
            set_name = str(set_label)
            own_train = _own_or_main(train, set_name)
            own_valid = None if split == "valid" else _own_or_main(valid, set_name)
            if own_valid is not None and own_valid.empty:
                own_valid = None
            yield LabelledUnits(task, set_name, str(level), units, own_train, own_valid)
            if level == "exam":
                continue
            kind = evaluation_of(task)
            exams = kind.exam_values(task, units, own_valid)
            if exams is None:
                continue
            valid_exams = None
            if own_valid is not None:
                valid_exams = kind.exam_values(task, own_valid, None)
            train_exams = own_train.drop_duplicates("exam")
            yield LabelledUnits(task, set_name, "exam", exams, train_exams, valid_exams)


def _own_or_main(rows: pd.DataFrame, set_name: str) -> pd.DataFrame:
    """Rows of a set, or of the main one that its model was tuned on if it has none of its own."""
    own = rows[rows["set"].eq(set_name)]
    return own if len(own) else rows[rows["set"].eq("main")]


def scored(units: LabelledUnits) -> Scored:
    """Arrays of the rows.

    Raises:
        InputError: a row has no prediction.
    """
    unpredicted = units.rows["prediction"].isna()
    if unpredicted.any():
        raise InputError(
            f"{int(unpredicted.sum())} labelled rows of task {units.task.name!r} have no "
            f"prediction, first {units.rows.loc[unpredicted, 'key'].iloc[0]!r}"
        )
    return evaluation_of(units.task).scored(units.task, units.rows, units.validation)


def _evaluate_units(seeds: Sequence[LabelledUnits]) -> Iterator[tuple[str, Interval]]:
    """Give the name and the interval of every metric, baselines and margins included."""
    task = seeds[0].task
    kind = evaluation_of(task)
    models = [scored(units) for units in seeds]
    constants = [
        kind.constant_predictions(task, model, _train_labels(units))
        for model, units in zip(models, seeds, strict=True)
    ]
    patients = seeds[0].rows["patient"].to_numpy()
    for named in kind.metrics(task, models[0]):
        yield named.name, interval_of(named.figure, models, patients)
        if named.name in kind.primary:
            better, worse = (constants, models) if kind.lower_is_better else (models, constants)
            yield f"margin_{named.name}", difference_of(named.figure, better, worse, patients)
    for named in kind.metrics(task, constants[0]):
        # The constant is the same for every seed: they share their training labels.
        yield f"{BASELINE_PREFIX}{named.name}", interval_of(named.figure, constants[:1], patients)
    by_age = None
    if AGE_COLUMN in seeds[0].rows:
        by_age = kind.from_age(task, seeds[0].rows, seeds[0].train, seeds[0].validation)
    if by_age is not None:
        for named in kind.metrics(task, by_age):
            yield f"{AGE_ONLY_PREFIX}{named.name}", interval_of(named.figure, [by_age], patients)
    for count in kind.counts(task, models[0], patients):
        yield count.name, _plain(count.n, count.n, count.n_patients)
    validation = seeds[0].validation
    n = 0 if validation is None else len(validation)
    n_patients = 0 if validation is None else validation["patient"].nunique()
    for name in kind.fixed(task, models[0]):
        values = [kind.fixed(task, model)[name] for model in models]
        yield name, _plain(float(np.mean(values)), n, n_patients)


def _plain(value: float, n: int, n_patients: int) -> Interval:
    """A figure without an interval."""
    return Interval(value, math.nan, math.nan, n, n_patients, NO_INTERVAL)


def _train_labels(units: LabelledUnits) -> pd.Series:
    """Labels that are known to who sees no picture.

    Raises:
        InputError: there is no training label.
    """
    known = units.train["label"]
    if known.empty:
        raise InputError(
            f"predictions hold no training labels of task {units.task.name!r}, so there is no "
            "median or majority to compare with; write rows of split 'train' too (their prediction "
            "may be empty)"
        )
    return known
