"""Labels of a cohort table as numbers a model can be trained on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from bsou_dist.cohort.bad_cells import BadCell, raise_bad_cells, shown
from bsou_dist.cohort.columns import SPLITS
from bsou_dist.common.errors import InputError
from bsou_dist.tasks import MISSING_CLASS, Task


def encode_labels(table: pd.DataFrame, task: Task) -> np.ndarray:
    """One label per row of a cohort table.

    Returns:
        Classification: int64 (rows,), class index, ``MISSING_CLASS`` where missing.
        Regression: float64 (rows,), in the task's unit, NaN where missing.

    Raises:
        InputError: the table has no such column, or cells hold no value of the task; all are named
            in one message.
    """
    if task.label not in table.columns:
        raise InputError(
            f"task {task.name!r} reads column {task.label!r}, which the cohort does not have; "
            f"it has {', '.join(table.columns)}"
        )
    codes, values = pd.factorize(table[task.label])  # codes are -1 where missing
    kind, missing = (
        ("int64", MISSING_CLASS) if task.kind == "classification" else ("float64", np.nan)
    )
    encoded = np.full(len(values) + 1, missing, dtype=kind)  # the last entry serves code -1
    refused: dict[object, str] = {}
    for index, value in enumerate(values):
        try:
            encoded[index] = task.encode(value)
        except InputError:
            refused[value] = f"task {task.name!r} allows {_allowed(task)} or empty"
    rows = table[table[task.label].isin(list(refused))]
    raise_bad_cells(
        "cohort",
        (
            BadCell(int(line), task.label, shown(value), refused[value])
            for line, value in zip(rows["line"], rows[task.label], strict=True)
        ),
    )
    return encoded[codes]


def require_labels(
    table: pd.DataFrame, tasks: Iterable[Task], split_column: str, splits: Sequence[str] = SPLITS
) -> None:
    """Check that every task has at least one label in every split that it will be asked for.

    Raises:
        InputError: naming each task and split without any label.
    """
    empty = []
    for task in tasks:
        labels = encode_labels(table, task)
        labelled = labels != MISSING_CLASS if task.kind == "classification" else ~np.isnan(labels)
        for split in splits:
            rows = table[split_column].eq(split).to_numpy()
            if not (labelled & rows).any():
                empty.append(
                    f"no labels for task {task.name!r} (column {task.label}) in split {split!r} of "
                    f"{split_column} ({int(rows.sum())} clips)"
                )
    if empty:
        raise InputError(
            "; ".join(empty) + ". Fill the column, change the splits, or leave the task out"
        )


def _allowed(task: Task) -> str:
    return ", ".join(task.classes) if task.classes and not task.bin_edges else "a number"
