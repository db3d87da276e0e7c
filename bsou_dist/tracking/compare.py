"""What an experiment has learnt so far, from the tracker alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from bsou_dist.common.errors import InputError
from bsou_dist.tasks.kinds.make import make_task
from bsou_dist.tasks.task import Task
from bsou_dist.tasks.task_set import TaskSetConfig
from bsou_dist.tracking.mlflow_tracker import StoredRun, read_runs
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
    """The columns of `records.COLUMNS` and `method`, sorted by method and names."""
    tasks: dict[str, Task]
    """The tasks of the records by name, in the order of the runs' own tables."""
    notes: list[str]
    """Sentences, such as on runs left out or runs on different data."""
    phantom: bool
    """Whether the results are those of phantom data."""


def read_results(uri: str, experiment: str) -> Results:
    """Read the results of an experiment from its tracker.

    Only finished runs count, and of several runs of one method on one task and set only the newest.

    Raises:
        InputError: no such store or experiment, no results in it, phantom and patient results side
            by side, which must never share a table, or runs whose tasks of one name differ.
    """
    runs = read_runs(uri, experiment)
    needed = {TAG_METHOD, TAG_PHANTOM}
    finished = [run for run in runs if run.status == "FINISHED" and needed <= run.tags.keys()]
    tables: list[tuple[StoredRun, pd.DataFrame]] = []
    for run in finished:
        table = metrics_to_records(run.metrics)
        if len(table):
            tables.append((run, table))
    if not tables:
        raise InputError(
            f"experiment {experiment!r} in {uri} holds no finished run with results yet "
            f"({len(runs)} runs in all); results are written at the end of stage 2"
        )
    phantom = {run.tags[TAG_PHANTOM].lower() == "true" for run, _ in tables}
    if len(phantom) > 1:
        raise InputError(
            f"experiment {experiment!r} in {uri} holds results of phantom and of patient data, "
            "which must never share a table; give each its own experiment, and delete the runs of "
            "one of them here"
        )

    counted: list[tuple[StoredRun, pd.DataFrame]] = []
    pieces: list[pd.DataFrame] = []
    taken: set[tuple[str, str, str]] = set()
    for run, table in tables:  # newest first
        method = run.tags[TAG_METHOD]
        pairs = zip(table["task"], table["set"], strict=True)
        cells = pd.Series([(method, task, patients) for task, patients in pairs])
        fresh = ~cells.isin(taken)
        if fresh.any():
            counted.append((run, table))
            pieces.append(table[fresh].assign(method=method))
            taken |= set(cells)
    records = pd.concat(pieces).sort_values(["method", *NAMES]).reset_index(drop=True)
    tasks = _tasks_of(counted, experiment)
    notes = _notes(runs, tables, [run for run, _ in counted])
    return Results(records, tasks, notes, phantom.pop())


def _tasks_of(tables: list[tuple[StoredRun, pd.DataFrame]], experiment: str) -> dict[str, Task]:
    """Read the tasks that runs have results of, in the order of the runs' own tables."""
    places: dict[str, int] = {}
    tasks: dict[str, Task] = {}
    for run, table in tables:
        for place, task in _recorded_tasks(run, table):
            known = tasks.setdefault(task.name, task)
            places.setdefault(task.name, place)
            if known.model_dump(exclude=_LOOKS) != task.model_dump(exclude=_LOOKS):
                raise InputError(
                    f"runs of experiment {experiment!r} have different tasks of the name "
                    f"{task.name!r} ({known!r} and {task!r}), which must never share a column; "
                    "give one of them another name, or its runs an experiment of their own"
                )
    return {name: tasks[name] for name in sorted(tasks, key=places.__getitem__)}


def _recorded_tasks(run: StoredRun, table: pd.DataFrame) -> Iterator[tuple[int, Task]]:
    """Give a run's tasks, with their place among all that it knew.

    A run from before tasks were put on record has those of set `p1`: there were no others.
    """
    if TAG_TASK_RECORD in run.tags:
        record = json.loads(run.tags[TAG_TASK_RECORD])
        yield record["place"], make_task(record["task"])
        return
    known = TaskSetConfig(set="p1").by_name
    for name in table["task"].unique():
        if name not in known:
            raise InputError(
                f"run {run.name!r} has results of task {name!r} and no record of what that is; "
                "delete the run, or train it again"
            )
        yield list(known).index(name), known[name]


def _notes(
    runs: list[StoredRun], tables: list[tuple[StoredRun, pd.DataFrame]], counted: list[StoredRun]
) -> list[str]:
    notes = []
    if older := len(tables) - len(counted):
        notes.append(
            f"{older} older run(s) of the same method, task and set left out; the newest finished "
            "one counts."
        )
    if unfinished := sum(run.status != "FINISHED" for run in runs):
        notes.append(f"{unfinished} run(s) that did not finish left out.")
    data = {run.tags.get(TAG_DATA, "unknown") for run in counted}
    if len(data) > 1:
        notes.append(
            f"These runs were made on {len(data)} different states of the data "
            f"({', '.join(sorted(data))}); "
            "their rows do not compare."
        )
    return notes
