"""What an experiment has learnt so far, from the tracker alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from bsou_dist.common.errors import InputError
from bsou_dist.tasks.kinds.make import make_task
from bsou_dist.tasks.task import Task
from bsou_dist.tasks.task_set import TaskSetConfig
from bsou_dist.tracking.mlflow_store import StoredRun, read_runs
from bsou_dist.tracking.records import NAMES, metrics_to_records
from bsou_dist.tracking.tracker import (
    TAG_DATA,
    TAG_METHOD,
    TAG_PHANTOM,
    TAG_TASK_RECORD,
)

_LOOKS = {"group", "order", "decimals"}
"""Fields of a task by which results still compare."""


@dataclass(frozen=True)
class Results:
    """The results of an experiment, and what a reader of their table must know."""

    records: pd.DataFrame
    """The columns of `records.RECORD_COLUMNS` and `method`, sorted by method and names."""
    tasks: dict[str, Task]
    """The tasks of the records by name, in the order of the runs' own tables."""
    notes: list[str]
    """Sentences, such as on runs left out or runs on different data."""
    phantom: bool
    """Whether the results are those of phantom data."""


class RunResults(NamedTuple):
    """A finished run and the records among its metrics."""

    run: StoredRun
    records: pd.DataFrame


def read_results(uri: str, experiment: str) -> Results:
    """Read the results of an experiment from its tracker.

    Only finished runs count, and of several runs of one method on one task and set only the newest.

    Raises:
        InputError: no such store or experiment, no results in it, phantom and patient results side
            by side, which must never share a table, or runs whose tasks of one name differ.
    """
    runs = read_runs(uri, experiment)
    results = _finished_with_results(runs)
    if not results:
        raise InputError(
            f"experiment {experiment!r} in {uri} holds no finished run with results yet "
            f"({len(runs)} runs in all); results are written at the end of stage 2"
        )
    kinds_of_data = {result.run.tags[TAG_PHANTOM].lower() == "true" for result in results}
    if len(kinds_of_data) > 1:
        raise InputError(
            f"experiment {experiment!r} in {uri} holds results of phantom and of patient data, "
            "which must never share a table; give each its own experiment, and delete the runs of "
            "one of them here"
        )
    newest = _newest_of_each_cell(results)
    frames = [result.records.assign(method=result.run.tags[TAG_METHOD]) for result in newest]
    return Results(
        records=pd.concat(frames).sort_values(["method", *NAMES]).reset_index(drop=True),
        tasks=_tasks_of(newest, experiment),
        notes=_notes(runs, results, [result.run for result in newest]),
        phantom=kinds_of_data.pop(),
    )


def _tasks_of(results: list[RunResults], experiment: str) -> dict[str, Task]:
    """Read the tasks that runs have results of, in the order of the runs' own tables."""
    places: dict[str, int] = {}
    tasks: dict[str, Task] = {}
    for run, records in results:
        for place, task in _recorded_tasks(run, records):
            known = tasks.setdefault(task.name, task)
            places.setdefault(task.name, place)
            if known.model_dump(exclude=_LOOKS) != task.model_dump(exclude=_LOOKS):
                raise InputError(
                    f"runs of experiment {experiment!r} have different tasks of the name "
                    f"{task.name!r} ({known!r} and {task!r}), which must never share a column; "
                    "give one of them another name, or its runs an experiment of their own"
                )
    return {name: tasks[name] for name in sorted(tasks, key=places.__getitem__)}


def _recorded_tasks(run: StoredRun, records: pd.DataFrame) -> Iterator[tuple[int, Task]]:
    """Give a run's tasks, with their place among all that it knew.

    A run from before tasks were put on record has those of set `p1`: there were no others.
    """
    if TAG_TASK_RECORD in run.tags:
        content = json.loads(run.tags[TAG_TASK_RECORD])
        yield content["place"], make_task(content["task"])
        return
    known = TaskSetConfig(set="p1").by_name
    for name in records["task"].unique():
        if name not in known:
            raise InputError(
                f"run {run.name!r} has results of task {name!r} and no record of what that is; "
                "delete the run, or train it again"
            )
        yield list(known).index(name), known[name]


def _finished_with_results(runs: list[StoredRun]) -> list[RunResults]:
    results = []
    for run in runs:
        has_tags = {TAG_METHOD, TAG_PHANTOM} <= run.tags.keys()
        if run.status == "FINISHED" and has_tags:
            records = metrics_to_records(run.metrics)
            if len(records):
                results.append(RunResults(run, records))
    return results


def _newest_of_each_cell(results: list[RunResults]) -> list[RunResults]:
    """Keep of each cell of the table (a method on a task and a set) the records of the newest run.

    `results` come newest first; a run of which nothing is left is dropped.
    """
    newest: list[RunResults] = []
    taken: set[tuple[str, str, str]] = set()
    for run, records in results:
        method = run.tags[TAG_METHOD]
        tasks_and_sets = zip(records["task"], records["set"], strict=True)
        cells = pd.Series([(method, task, set_name) for task, set_name in tasks_and_sets])
        is_new = ~cells.isin(taken)
        if is_new.any():
            newest.append(RunResults(run, records[is_new]))
            taken |= set(cells)
    return newest


def _notes(runs: list[StoredRun], results: list[RunResults], counted: list[StoredRun]) -> list[str]:
    """Sentences on what is not in the table, and on runs in it that do not compare."""
    notes = []
    older = len(results) - len(counted)
    if older:
        notes.append(
            f"{older} older run(s) of the same method, task and set left out; "
            "the newest finished one counts."
        )
    unfinished = sum(run.status != "FINISHED" for run in runs)
    if unfinished:
        notes.append(f"{unfinished} run(s) that did not finish left out.")
    data_states = {run.tags.get(TAG_DATA, "unknown") for run in counted}
    if len(data_states) > 1:
        notes.append(
            f"These runs were made on {len(data_states)} different states of the data "
            f"({', '.join(sorted(data_states))}); their rows do not compare."
        )
    return notes
