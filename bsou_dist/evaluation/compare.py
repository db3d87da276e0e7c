"""Methods against each other on the same exams, pair by pair.

The primary analysis is of one exam per patient. Differences have intervals, shares with one unit
per patient an exact McNemar test, all else Student's test on patients (and seeds). Endpoints that
were named beforehand stand by themselves; the p-values of all others are corrected by Holm's
procedure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import combinations
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field, field_validator

from bsou_dist.common.errors import InputError
from bsou_dist.common.strict_config import StrictConfig
from bsou_dist.evaluation.estimates import Clusters, Estimate
from bsou_dist.evaluation.evaluate import LabelledUnits, scored, units_of_seeds
from bsou_dist.evaluation.figures import Figure, Share
from bsou_dist.evaluation.intervals import difference_interval, estimate_of, paired
from bsou_dist.evaluation.kinds.make import evaluation_of
from bsou_dist.evaluation.significance import holm, mcnemar, student
from bsou_dist.tasks.task import Task

COMPARISON_COLUMNS = [
    "task",
    "set",
    "level",
    "metric",
    "method_a",
    "method_b",
    "value_a",
    "value_b",
    "difference",
    "low",
    "high",
    "p",
    "p_holm",
    "test",
    "n",
    "n_patients",
    "a_alone",
    "b_alone",
    "is_primary",
]
MCNEMAR, STUDENT = "McNemar exact", "Student"
_ORDER = ["task", "set", "level", "metric", "method_a", "method_b"]


class PrimaryEndpoint(StrictConfig):
    """A comparison that is named before results are seen."""

    task: str
    """Name of the task."""
    metric: str
    """Metric of the task, such as accuracy or mae."""
    methods: tuple[str, str] = Field(min_length=2, max_length=2)
    """The two methods; the difference is the first minus the second."""
    set: str = "main"
    """Set of patients."""

    @field_validator("methods")
    @classmethod
    def _two_methods(cls, methods: tuple[str, str]) -> tuple[str, str]:
        if methods[0] == methods[1]:
            raise ValueError(f"{methods[0]!r} can't be compared with itself; name two methods")
        return methods


@dataclass(frozen=True)
class ComparedFigure:
    """One figure of two methods from the same units."""

    units: LabelledUnits
    metric: str
    figure: Figure
    methods: tuple[str, str]
    one: Estimate
    """Of the first method."""
    other: Estimate
    """Of the second."""
    is_primary: bool


def compare_methods(
    predictions: pd.DataFrame,
    tasks: Mapping[str, Task],
    *,
    primary: Sequence[PrimaryEndpoint] = (),
    split: str = "test",
    exams: Literal["one", "all"] = "one",
) -> pd.DataFrame:
    """Compare every two methods on every task and set that both have predictions of.

    Per task the metrics are those of `EvaluationKind.compared` and those of primary endpoints. What
    is evaluated per clip and per exam is compared per exam. Only units that both methods predicted
    count. Several seeds of a method are one figure, their mean.

    Args:
        predictions: rows in the columns of `predictions.parquet` and `method`; `seed` too where a
            method was trained several times.
        tasks: the tasks by name.
        primary: endpoints that were named beforehand.
        split: which split to compare on.
        exams: one exam of each patient (`one_exam_per_patient`), or all of them.

    Returns:
        A row per comparison with `COMPARISON_COLUMNS`, primary ones first. Methods stand in the
        order of the alphabet, or of their endpoint; `difference` is `value_a - value_b`, `low` and
        `high` bound its 95 % interval, NaN where it is not estimable. `p_holm` is corrected over
        the rows that are not primary; of a primary one it is `p`. `a_alone` and `b_alone` count the
        units that one method alone has right, missing where a metric is no share or a method has
        several seeds.

    Raises:
        InputError: no column `method`, fewer than two methods, a primary endpoint that there is no
            comparison for, or methods with different labels.
    """
    rows = predictions
    if exams == "one":
        rows = one_exam_per_patient(predictions, split)
    records = [_record(compared) for compared in compared_figures(rows, tasks, primary, split)]
    table = pd.DataFrame(records, columns=COMPARISON_COLUMNS)
    _check_primary(primary, table, tasks)
    counts = ["a_alone", "b_alone"]
    table[counts] = table[counts].astype("Int64")
    is_primary = table["is_primary"].to_numpy(bool)
    corrected = table["p"].to_numpy(float).copy()
    corrected[~is_primary] = holm(corrected[~is_primary])
    table["p_holm"] = corrected
    return table.sort_values(
        ["is_primary", *_ORDER], ascending=[False, *[True] * len(_ORDER)], ignore_index=True
    )


def one_exam_per_patient(predictions: pd.DataFrame, split: str = "test") -> pd.DataFrame:
    """Keep one exam of each patient of a split, the same for all tasks, sets and methods.

    It is the exam whose name has the lowest hash: a random one, whatever its labels, its age and
    the order of rows. (The first visit would favour early pregnancies.) Other splits stay whole.
    """
    in_split = predictions["split"].eq(split)
    exams = predictions.loc[in_split, ["set", "patient", "exam"]].drop_duplicates()
    digests = [blake2b(str(exam).encode()).hexdigest() for exam in exams["exam"]]
    # Sets hold other exams of a patient, such as those of another device.
    first = exams.assign(digest=digests).sort_values("digest").drop_duplicates(["set", "patient"])
    chosen = pd.MultiIndex.from_frame(first[["set", "exam"]])
    is_chosen = pd.MultiIndex.from_frame(predictions[["set", "exam"]]).isin(chosen)
    return predictions[~in_split | is_chosen]


def _check_methods(predictions: pd.DataFrame) -> list[str]:
    if "method" not in predictions:
        raise InputError("predictions to compare need a column 'method'")
    methods = sorted(map(str, predictions["method"].unique()))
    if len(methods) < 2:
        raise InputError(
            f"predictions are of {len(methods)} method ({', '.join(methods)}); two are needed to "
            "compare"
        )
    return methods


def _compared_units(
    predictions: pd.DataFrame, tasks: Mapping[str, Task], split: str
) -> dict[tuple[str, str], list[LabelledUnits]]:
    """Units by task and set, a list over seeds; exams where there are clips and exams."""
    found: dict[tuple[str, str], list[LabelledUnits]] = {}
    for seeds in units_of_seeds(predictions, tasks, split):
        name = (seeds[0].task.name, seeds[0].set_name)
        if name not in found or seeds[0].level == "exam":
            found[name] = seeds
    return found


def _shared_units(
    first: list[LabelledUnits], second: list[LabelledUnits], methods: tuple[str, str]
) -> tuple[list[LabelledUnits], list[LabelledUnits]]:
    """Both methods' units that the other has too, in one order."""
    keys = first[0].rows["key"]
    shared = keys[keys.isin(second[0].rows["key"])]
    kept = []
    for seeds in (first, second):
        rows = [units.rows[units.rows["key"].isin(shared)] for units in seeds]
        kept.append(
            [
                replace(units, rows=part.reset_index(drop=True))
                for units, part in zip(seeds, rows, strict=True)
            ]
        )
    if not np.allclose(kept[0][0].rows["label"], kept[1][0].rows["label"]):
        raise InputError(
            f"methods {methods[0]!r} and {methods[1]!r} have different labels of task "
            f"{first[0].task.name!r}, set {first[0].set_name!r}; compare runs on the same data"
        )
    return kept[0], kept[1]


def compared_figures(
    predictions: pd.DataFrame,
    tasks: Mapping[str, Task],
    primary: Sequence[PrimaryEndpoint] = (),
    split: str = "test",
) -> Iterator[ComparedFigure]:
    """Estimate what every two methods are compared by; see `compare_methods`."""
    methods = _check_methods(predictions)
    units = {}
    for method in methods:
        of_method = predictions[predictions["method"].eq(method)]
        units[method] = _compared_units(of_method, tasks, split)
    for first, second in combinations(methods, 2):
        for name, of_first in units[first].items():
            of_second = units[second].get(name)
            if of_second is None:
                continue
            endpoints = {
                endpoint.metric: endpoint.methods
                for endpoint in primary
                if (endpoint.task, endpoint.set) == name
                and set(endpoint.methods) == {first, second}
            }
            shared = _shared_units(of_first, of_second, (first, second))
            yield from _estimate_both(shared, (first, second), endpoints)


def _estimate_both(
    units: tuple[list[LabelledUnits], list[LabelledUnits]],
    methods: tuple[str, str],
    endpoints: Mapping[str, tuple[str, str]],
) -> Iterator[ComparedFigure]:
    """Estimate each metric that two methods are compared by; `endpoints` says the primary ones."""
    of_first, of_second = units
    rows = of_first[0].rows
    if rows.empty:
        return
    task = of_first[0].task
    kind = evaluation_of(task)
    seeds = {
        methods[0]: [scored(seed) for seed in of_first],
        methods[1]: [scored(seed) for seed in of_second],
    }
    clusters = Clusters.of(rows["patient"].to_numpy())
    for named in kind.metrics(task, seeds[methods[0]][0]):
        if named.name not in endpoints and named.name not in kind.compared:
            continue
        first, second = endpoints.get(named.name, methods)
        yield ComparedFigure(
            units=of_first[0],
            metric=named.name,
            figure=named.figure,
            methods=(first, second),
            one=estimate_of(named.figure, seeds[first], clusters),
            other=estimate_of(named.figure, seeds[second], clusters),
            is_primary=named.name in endpoints,
        )


def _record(compared: ComparedFigure) -> dict[str, object]:
    interval = difference_interval(compared.one, compared.other)
    return {
        "task": compared.units.task.name,
        "set": compared.units.set_name,
        "level": compared.units.level,
        "metric": compared.metric,
        "method_a": compared.methods[0],
        "method_b": compared.methods[1],
        "value_a": compared.one.value,
        "value_b": compared.other.value,
        "difference": interval.value,
        "low": interval.low,
        "high": interval.high,
        "n": interval.n,
        "n_patients": interval.n_patients,
        "is_primary": compared.is_primary,
    } | _test(compared)


def _test(compared: ComparedFigure) -> dict[str, object]:
    """P-value, the test it is from, and counts of discordant units."""
    one, other = compared.one, compared.other
    pairs = paired(one, other)
    counts: dict[str, object] = {"a_alone": None, "b_alone": None}
    is_count = isinstance(compared.figure, Share) and pairs.per_unit is not None
    if is_count and one.seeds == other.seeds == 1:
        assert pairs.per_unit is not None
        first_alone = int((pairs.per_unit == 1).sum())
        second_alone = int((pairs.per_unit == -1).sum())
        counts = {"a_alone": first_alone, "b_alone": second_alone}
        if pairs.cluster_size == 1:
            return counts | {"p": mcnemar(first_alone, second_alone), "test": MCNEMAR}
    p = np.nan
    if not pairs.problem:
        p = student(pairs.value, pairs.variance, pairs.df)
    return counts | {"p": p, "test": STUDENT}


def _check_primary(
    primary: Sequence[PrimaryEndpoint], table: pd.DataFrame, tasks: Mapping[str, Task]
) -> None:
    found = table[table["is_primary"].astype(bool)]
    for endpoint in primary:
        same = (
            found["task"].eq(endpoint.task)
            & found["set"].eq(endpoint.set)
            & found["metric"].eq(endpoint.metric)
            & found["method_a"].eq(endpoint.methods[0])
            & found["method_b"].eq(endpoint.methods[1])
        )
        if not same.any():
            compared = table.loc[table["task"].eq(endpoint.task), "metric"].unique()
            known = (
                ", ".join(compared) if len(compared) else f"no metric; tasks: {', '.join(tasks)}"
            )
            raise InputError(
                f"no predictions for the primary endpoint {endpoint.metric!r} of task "
                f"{endpoint.task!r}, set {endpoint.set!r}, {endpoint.methods[0]} against "
                f"{endpoint.methods[1]}; that task is compared by {known}"
            )
