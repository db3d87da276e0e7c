"""Labels of a cohort table as numbers a model can be trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from bsou_dist.cohort.bad_cells import BadCell, raise_bad_cells, shown
from bsou_dist.cohort.columns import SPLITS
from bsou_dist.common.errors import InputError
from bsou_dist.tasks.labels import is_missing, missing_label
from bsou_dist.tasks.task import Task


def encode_labels(table: pd.DataFrame, task: Task) -> np.ndarray:
    """Turn a task's column of a cohort table into labels, one per row.

    Returns:
        (rows,) of the task's `label_dtype`: class indices with `MISSING_CLASS`, or numbers in the
        task's unit with NaN, where a label is missing.

    Raises:
        InputError: the table has no such column, or cells hold no value of the task; all are named
            in one message.
    """
    if task.label not in table.columns:
        raise InputError(
            f"task {task.name!r} reads column {task.label!r}, which the cohort does not have; "
            f"it has {', '.join(name for name in table.columns if name != 'line')}"
        )
    codes, values = pd.factorize(table[task.label])  # codes are -1 where missing
    missing = missing_label(np.dtype(task.label_dtype))
    encoded: np.ndarray = np.full(len(values) + 1, missing, dtype=task.label_dtype)
    refused: set[object] = set()
    for index, value in enumerate(values):
        try:
            encoded[index] = task.encode(value)
        except InputError:
            refused.add(value)
    rows = table[table[task.label].isin(list(refused))]
    allowed = f"task {task.name!r} allows {task.allowed_labels} or empty"
    bad_cells = (
        BadCell(int(line), task.label, shown(value), allowed)
        for line, value in zip(rows["line"], rows[task.label], strict=True)
    )
    raise_bad_cells("cohort", bad_cells)
    return encoded[codes]  # code -1 takes the last entry, which stayed missing


def require_labels(
    labels_of: Mapping[Task, np.ndarray],
    table: pd.DataFrame,
    split_column: str,
    splits: Sequence[str] = SPLITS,
) -> None:
    """Check that every task has at least one label in every split that it will be asked for.

    Args:
        labels_of: encoded labels of each task, (rows,).
        table: the cohort table, whose rows the labels belong to.

    Raises:
        InputError: naming each task and split without any label.
    """
    faults = []
    for task, labels in labels_of.items():
        labelled = ~is_missing(labels)
        for split in splits:
            rows = table[split_column].eq(split).to_numpy()
            if not (labelled & rows).any():
                faults.append(
                    f"no labels for task {task.name!r} (column {task.label}) in split {split!r} of "
                    f"{split_column} ({int(rows.sum())} clips)"
                )
    if faults:
        advice = "Fill the column, change the splits, or leave the task out"
        raise InputError(f"{'; '.join(faults)}. {advice}")
