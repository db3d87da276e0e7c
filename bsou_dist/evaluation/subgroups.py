"""How well it goes by site, device, operator, body mass index, trimester and sweeps present.

A threshold, and the recalibration of variances, are those of all validation units, not of a
subgroup's own. No figure is given for a group of very few patients: it would say little, and might
say who they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from pydantic import Field, field_validator

from bsou_dist.common.strict_config import StrictConfig
from bsou_dist.evaluation.evaluate import (
    NO_INTERVAL,
    LabelledUnits,
    scored,
    units_of_seeds,
)
from bsou_dist.evaluation.intervals import NOT_ESTIMABLE, interval_of
from bsou_dist.evaluation.kinds.make import evaluation_of
from bsou_dist.tasks.task import Task

SUBGROUP_COLUMNS = [
    "task",
    "set",
    "level",
    "subgroup",
    "group",
    "metric",
    "value",
    "low",
    "high",
    "n",
    "n_patients",
    "interval",
]
TRIMESTER = "trimester"
UNKNOWN = "unknown"
"""The group of units of which it is not known where they belong."""
_SECOND_TRIMESTER_DAYS = 14 * 7
_THIRD_TRIMESTER_DAYS = 28 * 7
_AS_TEXT = ("site", "device", "operator")


class SubgroupConfig(StrictConfig):
    """Groups of patients that results are broken down by."""

    bmi_edges: tuple[float, ...] = (30.0,)
    """Rising body mass indices, kg/m2, that part the groups; 30 is where obesity begins (WHO)."""
    min_patients: int = Field(default=10, ge=1)
    """Groups of fewer patients are counted, and their figures left out as not estimable."""

    @field_validator("bmi_edges")
    @classmethod
    def _rising(cls, edges: tuple[float, ...]) -> tuple[float, ...]:
        if not edges or any(not low < high for low, high in pairwise(edges)):
            raise ValueError(f"name one edge or more, in rising order, got {list(edges)}")
        return edges


def subgroup_records(
    predictions: pd.DataFrame,
    tasks: Mapping[str, Task],
    *,
    split: str = "test",
    config: SubgroupConfig | None = None,
) -> pd.DataFrame:
    """Evaluate every task and set by groups of units, per exam where there are exam values.

    A subgroup that has all units in one group is left out.

    Args:
        predictions: as in `evaluate_predictions`, with several seeds told apart by `seed`.
        tasks: the run's tasks by name.
        split: which split to evaluate.
        config: where groups begin, and how small they may be.

    Returns:
        Records with `SUBGROUP_COLUMNS`, low and high NaN where `interval` says that they are not
        estimable, and so the value of a group that is too small; in it the counts of classes.
    """
    config = config or SubgroupConfig()
    rows: list[tuple[object, ...]] = []
    for seeds in _as_tables_show(units_of_seeds(predictions, tasks, split)):
        names = (seeds[0].task.name, seeds[0].set_name, seeds[0].level)
        for subgroup, groups in _subgroups(seeds[0].rows, config):
            for group in dict.fromkeys(groups.sort_values(key=_unknown_last)):
                members = groups.eq(group).to_numpy()
                text = group.partition(_ORDER)[2] or group
                for record in _evaluate_group(seeds, members, config):
                    rows.append((*names, subgroup, text, *record))
    return pd.DataFrame(rows, columns=SUBGROUP_COLUMNS)


def _as_tables_show(found: list[list[LabelledUnits]]) -> Iterator[list[LabelledUnits]]:
    """Leave out clips where there are values of their exams."""
    with_exams = {
        (seeds[0].task.name, seeds[0].set_name) for seeds in found if seeds[0].level == "exam"
    }
    for seeds in found:
        name = (seeds[0].task.name, seeds[0].set_name)
        if seeds[0].level == "exam" or name not in with_exams:
            yield seeds


def _subgroups(rows: pd.DataFrame, config: SubgroupConfig) -> Iterator[tuple[str, pd.Series]]:
    """Give every way to part the units, and the name of each unit's group."""
    ways = {name: rows[name] for name in _AS_TEXT if name in rows}
    if "bmi" in rows:
        ways["bmi"] = _bmi_groups(rows["bmi"], config.bmi_edges)
    if "ga_days" in rows:
        ways[TRIMESTER] = _trimesters(rows["ga_days"])
    if "sweeps_present" in rows:
        ways["sweeps_present"] = rows["sweeps_present"].map(_sweeps, na_action="ignore")
    for name, groups in ways.items():
        groups = groups.astype(object).fillna(UNKNOWN).astype(str)
        if groups.nunique() > 1:
            yield name, groups


_ORDER = "\x00"
"""Stands between a group's rank and its name where groups have an order of their own."""


def _bmi_groups(bmi: pd.Series, edges: Sequence[float]) -> pd.Series:
    names = [
        f"<{edges[0]:g} kg/m²",
        *(f"{low:g} to {high:g} kg/m²" for low, high in pairwise(edges)),
        f"≥{edges[-1]:g} kg/m²",
    ]
    return _ranked(bmi, edges, names)


def _trimesters(ga_days: pd.Series) -> pd.Series:
    """The second begins at 14 weeks and 0 days, the third at 28 weeks and 0 days."""
    edges = (_SECOND_TRIMESTER_DAYS, _THIRD_TRIMESTER_DAYS)
    return _ranked(ga_days, edges, ["first", "second", "third"])


def _ranked(values: pd.Series, edges: Sequence[float], names: Sequence[str]) -> pd.Series:
    """Half-open groups [edge, next edge); missing values stay missing."""
    ranks = np.searchsorted(edges, values.to_numpy(float), side="right")
    labels = pd.Series([f"{rank:03d}{_ORDER}{names[rank]}" for rank in ranks], index=values.index)
    return labels.where(values.notna(), None)


def _sweeps(count: float) -> str:
    return f"{count:.0f} of 6"


def _unknown_last(groups: pd.Series) -> pd.Series:
    return groups.mask(groups.eq(UNKNOWN), "\uffff")


def _evaluate_group(
    seeds: Sequence[LabelledUnits], members: np.ndarray, config: SubgroupConfig
) -> Iterator[tuple[object, ...]]:
    """Give name, value, low, high, n, patients and interval of a group's figures and counts."""
    task = seeds[0].task
    kind = evaluation_of(task)
    models = [scored(units).where(members) for units in seeds]
    patients = seeds[0].rows["patient"].to_numpy()[members]
    n, n_patients = len(patients), len(np.unique(patients))
    of_name = {named.name: named for named in kind.metrics(task, models[0])}
    for name in kind.subgroup_metrics(task):
        if name not in of_name:
            continue
        if n_patients < config.min_patients:
            yield name, math.nan, math.nan, math.nan, n, n_patients, NOT_ESTIMABLE
        else:
            yield name, *interval_of(of_name[name].figure, models, patients)
    for count in kind.counts(task, models[0], patients):
        yield count.name, count.n, math.nan, math.nan, count.n, count.n_patients, NO_INTERVAL
