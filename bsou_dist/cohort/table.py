"""The cohort table: a row per clip, read from CSV or Parquet, cleaned and checked as a whole."""

from __future__ import annotations

import hashlib
import posixpath
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bsou_dist.cohort import validate
from bsou_dist.cohort.colmap import ColumnMap, read_column_map
from bsou_dist.cohort.columns import (
    CIRCULAR_GA_SOURCES,
    COLUMNS,
    MASKED_FOR_MULTIPLES,
    MISSING,
    OPTIONAL_SPLITS,
)
from bsou_dist.cohort.problems import BadCell, bad_cells, raise_bad_cells
from bsou_dist.cohort.tags import read_tag
from bsou_dist.errors import InputError


@dataclass(frozen=True)
class Cohort:
    """Who was scanned.

    ``table`` has the contract columns (text with NaN for missing, numbers as float64), the split columns that the
    file has, and ``line``, the line of the file (of a Parquet file: the row, counted from 1). ``notes`` are
    sentences about what was taken as missing or ignored.
    """

    table: pd.DataFrame
    root: Path
    notes: tuple[str, ...] = ()


def read_cohort(path: Path, *, column_map: Path | None = None, root: Path | None = None,
                allow_circular_dating: bool = False, check_files: bool = False) -> Cohort:
    """Read and check a cohort table.

    Args:
        path: a ``.csv`` or ``.parquet`` file with a row per clip.
        column_map: YAML that maps a foreign layout to ours (see ``ColumnMap``).
        root: folder that ``path`` cells are relative to; by default the table's own.
        allow_circular_dating: keep ``ga_days`` dated by the same scan's biometry (``CIRCULAR_GA_SOURCES``).
        check_files: also report the rows whose file does not exist.

    Raises:
        InputError: the file or a column is missing, or any row is bad; one message names all bad rows.
    """
    raw = _read_text(path)
    mapping = read_column_map(column_map) if column_map else ColumnMap()
    frame = mapping.rename(raw, str(path))
    validate.check_columns(list(frame.columns), str(path))

    notes = _note_ignored(frame, mapping)
    table = _contract_columns(frame)
    bad = mapping.decode(table)
    _fill_from_tags(table)
    bad += _read_numbers(table, mapping.units)
    notes += _drop_other_placentas(table)
    notes += _mask_multiples(table)
    if not allow_circular_dating:
        notes += _mask_circular_dating(table)
    _fill_exam_ids(table)
    table["path"] = table["path"].map(posixpath.normpath, na_action="ignore").astype("str")

    root = root if root is not None else path.parent
    bad += validate.find_bad_rows(table)
    if check_files:
        bad += validate.find_missing_files(table, root)
    raise_bad_cells(str(path), bad)
    return Cohort(table, root, tuple(notes))


def cohort_fingerprint(table: pd.DataFrame) -> str:
    """SHA-256 of a cohort's contract and split columns, independent of the order of rows and of line numbers."""
    columns = [name for name in (*COLUMNS, *OPTIONAL_SPLITS) if name in table.columns]
    text = table[columns].sort_values("path").to_csv(index=False, lineterminator="\n")
    return hashlib.sha256(text.encode()).hexdigest()


def _read_text(path: Path) -> pd.DataFrame:
    """All cells as text (missing as NaN) and the column ``line``."""
    if not path.is_file():
        raise InputError(f"no cohort table at {path}")
    if path.suffix.lower() == ".parquet":
        frame = _read_parquet_text(path)
    elif path.suffix.lower() == ".csv":
        frame = _read_csv_text(path)
    else:
        raise InputError(f"{path.name} is no cohort table by its name; it must end in .csv or .parquet")
    if frame.empty:
        raise InputError(f"{path} has no rows")
    return frame


def _read_csv_text(path: Path) -> pd.DataFrame:
    with path.open("rb") as file:
        heading = file.readline()
    if b"," not in heading and (mark := next((mark for mark in (b";", b"\t", b"|") if mark in heading), None)):
        raise InputError(f"{path} is separated by {mark.decode()!r}; save it with commas")
    try:
        cells = pd.read_csv(path, header=None, dtype="str", na_filter=False, skip_blank_lines=False,
                            encoding="utf-8-sig")
    except pd.errors.EmptyDataError as error:
        raise InputError(f"{path} is empty") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not in UTF-8 ({error.reason} at byte {error.start}); save it as 'CSV UTF-8'"
                         ) from error
    except pd.errors.ParserError as error:
        raise InputError(f"{path} is not a comma-separated table: {error}. Separate its columns by commas, and quote "
                         "cells that hold one") from error
    cells = cells.fillna("")
    breaks = cells.apply(lambda column: column.str.count("\n")).sum(axis="columns")  # a quoted cell may span lines
    lines = pd.Series(range(1, len(cells) + 1)) + breaks.cumsum().shift(fill_value=0)
    names = cells.iloc[0].str.strip().tolist()
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"{path}: two columns have the same name: {', '.join(map(repr, repeated))}")
    frame = cells.iloc[1:].set_axis(names, axis="columns").assign(line=lines.iloc[1:])
    blank = (frame[names] == "").all(axis="columns")
    return _missing_as_nan(frame[~blank].reset_index(drop=True))


def _read_parquet_text(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a Parquet file: {error}") from error
    for column in frame.columns:
        frame[column] = frame[column].astype("object").map(str, na_action="ignore").astype("str")
    return _missing_as_nan(frame.assign(line=range(1, len(frame) + 1)))


def _missing_as_nan(frame: pd.DataFrame) -> pd.DataFrame:
    for column in frame.columns.drop("line"):
        text = frame[column].str.strip()
        sentinel = text.str.lower().str.replace(r"^(-\d+)\.0+$", r"\1", regex=True)
        frame[column] = text.mask(sentinel.isin(MISSING))
    return frame


def _note_ignored(frame: pd.DataFrame, mapping: ColumnMap) -> list[str]:
    known = {*COLUMNS, *OPTIONAL_SPLITS, "line", *mapping.columns.values()}
    ignored = [column for column in frame.columns if column not in known]
    if not ignored:
        return []
    absent = [name for name in COLUMNS if name not in frame.columns]
    said = (f"{column!r}{validate.did_you_mean(column, absent)}" for column in ignored)
    return [f"columns that a cohort does not use were ignored: {', '.join(said)}"]


def _contract_columns(frame: pd.DataFrame) -> pd.DataFrame:
    names = [*COLUMNS, *(name for name in OPTIONAL_SPLITS if name in frame.columns), "line"]
    table = frame.reindex(columns=names)
    return table.astype(dict.fromkeys(names[:-1], "str"))


def _fill_from_tags(table: pd.DataFrame) -> None:
    """Sweep, clip class and a novice's mark from the tag, in place, wherever the table does not say them itself."""
    meanings = {tag: read_tag(tag) for tag in table["tag_raw"].dropna().unique()}
    sweeps = {tag: meaning.sweep for tag, meaning in meanings.items()}
    classes = {tag: meaning.clip_class for tag, meaning in meanings.items()}
    operators = {tag: "novice" if meaning.novice else None for tag, meaning in meanings.items()}
    known_sweep = table["sweep"].notna()
    table["clip_class"] = table["clip_class"].mask(table["clip_class"].isna() & known_sweep, "blind")
    for column, meaning_of in (("sweep", sweeps), ("clip_class", classes), ("operator", operators)):
        table[column] = table[column].fillna(table["tag_raw"].map(meaning_of).astype("str"))
    not_blind = table["clip_class"].notna() & table["clip_class"].ne("blind")
    table["sweep"] = table["sweep"].mask(not_blind & ~known_sweep)


def _read_numbers(table: pd.DataFrame, units: dict[str, float]) -> list[BadCell]:
    """Text to float64, in place, times the map's unit; returns cells that are no number."""
    bad: list[BadCell] = []
    for column in COLUMNS.values():
        if column.kind != "number":
            continue
        text = table[column.name]
        numbers = pd.to_numeric(text, errors="coerce").astype("float64")
        bad += bad_cells(table, column.name, text.notna() & numbers.isna(), "a number or an empty cell")
        table[column.name] = numbers * units.get(column.name, 1.0)
    return bad


def _drop_other_placentas(table: pd.DataFrame) -> list[str]:
    """Sites other than anterior and posterior (fundal, lateral, low) are no class of ours: missing, with a count."""
    other = table["placenta"].notna() & ~table["placenta"].isin(COLUMNS["placenta"].allowed)
    if not other.any():
        return []
    counts = table.loc[other, "placenta"].value_counts().sort_index()
    found = ", ".join(f"{value!r} ({count})" for value, count in counts.items())
    table["placenta"] = table["placenta"].mask(other)
    return [f"placenta is neither anterior nor posterior in {_clips(other)}, taken as missing: {found}"]


def _mask_multiples(table: pd.DataFrame) -> list[str]:
    several = table["fetuses"].gt(1)
    labelled = several & table[list(MASKED_FOR_MULTIPLES)].notna().any(axis="columns")
    for column in MASKED_FOR_MULTIPLES:
        table[column] = table[column].mask(several)
    if not labelled.any():
        return []
    return [f"{_clips(labelled)} of multiple pregnancies: {', '.join(MASKED_FOR_MULTIPLES)} taken as missing"]


def _mask_circular_dating(table: pd.DataFrame) -> list[str]:
    circular = table["ga_source"].str.lower().isin(CIRCULAR_GA_SOURCES) & table["ga_days"].notna()
    table["ga_days"] = table["ga_days"].mask(circular)
    if not circular.any():
        return []
    return [f"ga_days of {_clips(circular)} comes from the scan's own biometry, taken as missing "
            "(allow_circular_dating keeps it)"]


def _fill_exam_ids(table: pd.DataFrame) -> None:
    """An exam is one device and one operator at one visit."""
    made = (table["study_id"] + "/" + table["device"].fillna("unknown device") + "/"
            + table["operator"].fillna("unknown operator"))
    table["exam_id"] = table["exam_id"].fillna(made)


def _clips(rows: pd.Series) -> str:
    count = int(rows.sum())
    return f"{count} {'clip' if count == 1 else 'clips'}"
