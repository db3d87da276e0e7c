"""Checks of a cohort table. Each returns the bad cells it finds, so that one error can report them
all.
"""

from __future__ import annotations

import difflib
import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bsou_dist.cohort.bad_cells import IDENTITY_COLUMNS, NOT_SHOWN, BadCell, bad_cells, shown
from bsou_dist.cohort.columns import COLUMNS, EXAM_LABELS, OPTIONAL_SPLITS, Column
from bsou_dist.cohort.frame_ranges import clip_names, find_bad_frame_ranges
from bsou_dist.common.errors import InputError


def did_you_mean(name: str, candidates: list[str]) -> str:
    """A hint in brackets, or nothing when no candidate is near."""
    near = difflib.get_close_matches(name.lower(), candidates, n=1, cutoff=0.6)
    return f" (did you mean {near[0]!r}?)" if near else ""


def check_columns(names: list[str], source: str) -> None:
    """Check that every required column is there.

    Raises:
        InputError: naming each one that is absent, with the nearest column that is there.
    """
    absent = [
        column.name for column in COLUMNS.values() if column.required and column.name not in names
    ]
    if not absent:
        return
    spare = [name for name in names if name not in COLUMNS and name != "line"]
    faults = []
    for name in absent:
        near = difflib.get_close_matches(name, spare, n=1, cutoff=0.6)
        faults.append(f"{name!r}" + (f" (nearest is {near[0]!r})" if near else ""))
    found = ", ".join(name for name in names if name != "line")
    raise InputError(
        f"{source} lacks the required {'column' if len(absent) == 1 else 'columns'} "
        f"{', '.join(faults)}; "
        f"it has {found}. Rename them, or give a column map"
    )


def find_bad_rows(table: pd.DataFrame) -> list[BadCell]:
    """Find everything that is wrong with a table of contract columns, files aside."""
    bad: list[BadCell] = []
    for column in (*COLUMNS.values(), *OPTIONAL_SPLITS.values()):
        if column.name not in table.columns:
            continue
        if column.required:
            bad += bad_cells(table, column.name, table[column.name].isna(), "may not be empty")
        if column.kind == "number":
            outside, allowed = find_out_of_range(table[column.name], column)
            bad += bad_cells(table, column.name, outside, allowed)
        elif column.allowed:
            bad += bad_cells(
                table,
                column.name,
                table[column.name].notna() & ~table[column.name].isin(column.allowed),
                f"{', '.join(column.allowed)} or empty",
            )
    bad += _find_bad_paths(table)
    bad += find_bad_frame_ranges(table)
    bad += _find_contradictions(
        table, "study_id", ("patient_id",), "a study belongs to one patient"
    )
    bad += _find_contradictions(
        table,
        "exam_id",
        ("study_id", "device", "operator"),
        "an exam has one study, device and operator",
    )
    bad += _find_contradictions(table, "exam_id", EXAM_LABELS, "an exam has one value")
    bad += find_split_leaks(table)
    return bad


def find_missing_files(table: pd.DataFrame, root: Path) -> list[BadCell]:
    """Rows whose file, or folder of images, is not there."""
    missing = table["path"].map(lambda path: not _is_there(root / path), na_action="ignore")
    missing = missing.eq(True)
    return bad_cells(table, "path", missing, f"no such file under {root}")


def _is_there(clip: Path) -> bool:
    return clip.is_file() or clip.is_dir()


def find_split_leaks(table: pd.DataFrame) -> list[BadCell]:
    """Patients whose splits would let a model be graded on someone it has seen.

    A patient has one value per split column, and one value over the columns of stage 2 (main,
    obese, handheld); a validation or test patient of stage 2 is not in stage 1, with all visits and
    devices.
    """
    columns = [name for name in OPTIONAL_SPLITS if name in table.columns]
    long = table.melt(
        id_vars=["patient_id", "line"], value_vars=columns, var_name="column", value_name="split"
    )
    long = long.dropna(subset=["split", "patient_id"])
    stage1 = long["column"].eq("split_stage1")
    bad = _find_mixed_splits(long[stage1]) + _find_mixed_splits(long[~stage1])
    held_out = long[~stage1 & long["split"].isin(["valid", "test"])].drop_duplicates("patient_id")
    both = (
        long[stage1]
        .drop_duplicates("patient_id")
        .merge(held_out, on="patient_id", suffixes=("", "_stage2"))
    )
    bad += [
        BadCell(
            line,
            "split_stage1",
            NOT_SHOWN,
            f"empty, because line {line_held} has this patient in {column!s} = {held!r}",
        )
        for line, column, held, line_held in _records(
            both, "line", "column_stage2", "split_stage2", "line_stage2"
        )
    ]
    return bad


def _find_mixed_splits(long: pd.DataFrame) -> list[BadCell]:
    """Patients with two different splits among rows of (patient_id, line, column, split)."""
    first = long.drop_duplicates("patient_id")
    other = long.merge(first, on="patient_id", suffixes=("", "_first"))
    other = other[other["split"] != other["split_first"]].drop_duplicates("patient_id")
    return [
        BadCell(
            line,
            column,
            NOT_SHOWN,
            f"one split per patient; line {line_first} has this one in another ({column_first})",
        )
        for line, column, line_first, column_first in _records(
            other, "line", "column", "line_first", "column_first"
        )
    ]


def _records(rows: pd.DataFrame, *columns: str) -> Iterator[tuple[Any, ...]]:
    return rows[list(columns)].itertuples(index=False, name=None)


def find_out_of_range(values: pd.Series, column: Column) -> tuple[pd.Series, str]:
    """Find numbers that are none of the column's, and say what would be accepted.

    Numbers are float64, NaN where missing.
    """
    bad = values.notna() & ~values.between(column.low, column.high)
    if column.whole:
        bad |= values.notna() & (values != np.floor(values))
    kind = "a whole number" if column.whole else "a number"
    unit = f" {column.unit}" if column.unit else ""
    return bad, f"{kind} from {column.low:g} to {column.high:g}{unit}, or empty"


def _find_bad_paths(table: pd.DataFrame) -> list[BadCell]:
    paths = table["path"].dropna()
    absolute = paths.map(posixpath.isabs) | paths.str.match(r"[A-Za-z]:[\\/]")
    leaving = paths.str.split("/").str[0].eq("..")
    bad = bad_cells(
        table,
        "path",
        absolute.reindex(table.index, fill_value=False).eq(True),
        "a path relative to the table's folder or to the given root",
    )
    bad += bad_cells(
        table,
        "path",
        leaving.reindex(table.index, fill_value=False).eq(True),
        "a path inside the root",
    )
    clips = table.assign(clip=clip_names(table))
    repeated = table["path"].notna() & clips["clip"].duplicated()
    first_line = clips.drop_duplicates("clip").set_index("clip")["line"].to_dict()
    bad += [
        BadCell(line, "path", NOT_SHOWN, f"one row per clip; it is on line {first_line[clip]} too")
        for line, clip in _records(clips[repeated], "line", "clip")
    ]
    return bad


def _find_contradictions(
    table: pd.DataFrame, key: str, columns: tuple[str, ...], rule: str
) -> list[BadCell]:
    """One BadCell per (key, column) that holds two different values."""
    bad: list[BadCell] = []
    for column in columns:
        rows = table.dropna(subset=[key, column])[[key, column, "line"]]
        first = rows.drop_duplicates(key)
        other = rows.merge(first, on=key, suffixes=("", "_first"))
        other = other[other[column] != other[f"{column}_first"]].drop_duplicates(key)
        bad += [
            BadCell(
                line,
                column,
                NOT_SHOWN if column in IDENTITY_COLUMNS else shown(value),
                f"{rule}; line {first_line} has another for this {key}",
            )
            for value, line, first_line in _records(other, column, "line", "line_first")
        ]
    return bad
