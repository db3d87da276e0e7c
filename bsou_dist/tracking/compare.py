"""What an experiment has learnt so far, from the tracker alone."""

from __future__ import annotations

import pandas as pd

from bsou_dist.common.errors import InputError
from bsou_dist.tracking.mlflow_tracker import StoredRun, read_runs
from bsou_dist.tracking.records import NAMES, metrics_to_records
from bsou_dist.tracking.tracker import TAG_DATA, TAG_METHOD, TAG_PHANTOM


def read_records(uri: str, experiment: str) -> pd.DataFrame:
    """The results of an experiment: the columns of `records.COLUMNS` and `method`, sorted by method
    and names.

    Only finished runs count, and of several runs of one method on one task and set only the newest.
    What a reader of the table must know besides is in `frame.attrs`: 'notes', a list of sentences
    (runs left out, runs on different data), and 'phantom', whether the results are those of phantom
    data.

    Raises:
        InputError: no such store or experiment, no results in it, or phantom and patient results
            side by side, which must never share a table.
    """
    runs = read_runs(uri, experiment)
    finished = [
        run
        for run in runs
        if run.status == "FINISHED" and {TAG_METHOD, TAG_PHANTOM} <= run.tags.keys()
    ]
    tables = [(run, table) for run in finished if len(table := metrics_to_records(run.metrics))]
    if not tables:
        raise InputError(
            f"experiment {experiment!r} in {uri} holds no finished run with results yet "
            f"({len(runs)} runs "
            "in all); results are written at the end of stage 2"
        )
    phantom = {run.tags[TAG_PHANTOM].lower() == "true" for run, _ in tables}
    if len(phantom) > 1:
        raise InputError(
            f"experiment {experiment!r} in {uri} holds results of phantom and of patient data, "
            "which must "
            "never share a table; give each its own experiment, and delete the runs of one of "
            "them here"
        )

    counted: list[StoredRun] = []
    pieces: list[pd.DataFrame] = []
    taken: set[tuple[str, str, str]] = set()
    for run, table in tables:  # newest first
        method = run.tags[TAG_METHOD]
        cells = pd.Series(
            [(method, *cell) for cell in zip(table["task"], table["set"], strict=True)]
        )
        fresh = ~cells.isin(taken)
        if fresh.any():
            counted.append(run)
            pieces.append(table[fresh].assign(method=method))
            taken |= set(cells)
    records = pd.concat(pieces).sort_values(["method", *NAMES]).reset_index(drop=True)
    records.attrs = {"notes": _notes(runs, tables, counted), "phantom": phantom.pop()}
    return records


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
