"""`predictions.parquet`: what the engine writes and the evaluation reads.

One row per task and unit (a clip or an exam). Identities are pseudonyms.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bsou_dist.common.errors import InputError
from bsou_dist.common.files import whole_file

SCHEMA = pa.schema(
    [
        ("task", pa.string()),
        ("level", pa.string()),  # of the row: 'clip' or 'exam'
        ("set", pa.string()),  # 'main', 'obese', 'handheld'
        ("split", pa.string()),  # 'train', 'valid', 'test'
        ("key", pa.string()),  # the clip's key, or the exam's pseudonym at exam level
        ("exam", pa.string()),
        ("study", pa.string()),
        ("patient", pa.string()),
        ("sweep", pa.string()),  # null at exam level or where unknown
        ("device", pa.string()),
        ("operator", pa.string()),
        ("site", pa.string()),
        ("bmi", pa.float64()),  # kg/m2
        ("ga_days", pa.float64()),
        ("sweeps_present", pa.float64()),  # how many of the canonical sweeps the exam has
        ("label", pa.float64()),  # class index, or the target in the task's unit; NaN where missing
        ("prediction", pa.float64()),  # class index, or the mean in the task's unit
        (
            "variance",
            pa.float64(),
        ),  # regression: predicted variance in unit squared; NaN for classes
        (
            "probabilities",
            pa.list_(pa.float64()),
        ),  # classification: one per class; null for regression
    ]
)

_OLDER_NAMES = [name for name in SCHEMA.names if name != "sweeps_present"]
"""Columns of files that were written before there was that column."""

AGE_COLUMN = "ga_days"
"""Column with the gestational age, of predictions and of a cohort."""

_MIDDLE_OF_WEEK_DAYS = 3


def with_ages_in_weeks(rows: pd.DataFrame, *, label_is_age: bool) -> pd.DataFrame:
    """Copy of rows in which ages are those of the middle of their week, in days.

    The day of a visit may tell who somebody is. `label_is_age` says whether the labels of a
    regression are ages too; its predictions stay.
    """
    columns = [AGE_COLUMN]
    if label_is_age and rows["variance"].notna().any():
        columns.append("label")
    whole_weeks = rows[columns] // 7
    return rows.assign(**(whole_weeks * 7 + _MIDDLE_OF_WEEK_DAYS))


def write_predictions(rows: pd.DataFrame, path: Path) -> None:
    """Write rows with the fixed schema, whole or not at all. Absent columns become null."""
    frame = rows.reindex(columns=SCHEMA.names)
    table = pa.Table.from_pandas(frame, schema=SCHEMA, preserve_index=False)
    with whole_file(path) as temporary:
        pq.write_table(table, temporary)


def read_predictions(path: Path) -> pd.DataFrame:
    """Read a `predictions.parquet`; InputError if it is missing or has another schema."""
    if not path.is_file():
        raise InputError(
            f"no predictions at {path}; stage 2 writes them at its end: run 'bsou train' again to "
            "go on"
        )
    table = pq.read_table(path)
    if table.schema.names not in (SCHEMA.names, _OLDER_NAMES):
        raise InputError(f"{path} has columns {table.schema.names}; expected {SCHEMA.names}")
    return table.to_pandas().reindex(columns=SCHEMA.names)
