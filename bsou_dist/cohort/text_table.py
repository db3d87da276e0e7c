"""Tables as they were found: every cell as text, with the line that it stands on."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pandas as pd

from bsou_dist.cohort.columns import MISSING
from bsou_dist.common.errors import InputError


def read_text_table(path: Path, sheet: str | None = None) -> pd.DataFrame:
    """All cells of a CSV, Parquet or Excel file as text, and ``line``, in a Parquet file the row
    counted from 1.

    Cells are as found; ``missing_as_nan`` comes next.

    Raises:
        InputError: it can't be read, or two columns have one name.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _read_parquet(path)
    return _with_names(_read_sheet(path, sheet) if suffix == ".xlsx" else _read_csv(path), path)


def missing_as_nan(frame: pd.DataFrame, also: tuple[str, ...] = ()) -> pd.DataFrame:
    """``frame`` with stripped cells, and NaN for those that mean 'not recorded' (``MISSING``, and
    ``also``).
    """
    absent = MISSING | set(also)
    for column in frame.columns.drop("line"):
        values = frame[column].drop_duplicates()
        text = values.str.strip()
        sentinel = text.str.lower().str.replace(r"^(-\d+)\.0+$", r"\1", regex=True)
        meant = dict(zip(values, text.mask(sentinel.isin(absent)), strict=True))
        frame[column] = frame[column].map(meant).astype("str")
    return frame


def _read_csv(path: Path) -> pd.DataFrame:
    with path.open("rb") as file:
        heading = file.readline()
    if b"," not in heading and (
        mark := next((mark for mark in (b";", b"\t", b"|") if mark in heading), None)
    ):
        raise InputError(f"{path} is separated by {mark.decode()!r}; save it with commas")
    try:
        return pd.read_csv(
            path,
            header=None,
            dtype="str",
            na_filter=False,
            skip_blank_lines=False,
            encoding="utf-8-sig",
        ).fillna("")
    except pd.errors.EmptyDataError as error:
        raise InputError(f"{path} is empty") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not in UTF-8 ({error.reason} at byte {error.start}); save it as 'CSV UTF-8'"
        ) from error
    except pd.errors.ParserError as error:
        raise InputError(
            f"{path} is not a comma-separated table: {error}. Separate its columns by commas, and "
            "quote "
            "cells that hold one"
        ) from error


def _read_sheet(path: Path, sheet: str | None) -> pd.DataFrame:
    try:
        book = pd.ExcelFile(path, engine="openpyxl")
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise InputError(
            f"{path} is not an Excel workbook ({type(error).__name__}); save it as .xlsx again"
        ) from error
    with book:
        if sheet is not None and sheet not in book.sheet_names:
            raise InputError(
                f"{path} has no sheet {sheet!r}; it has {', '.join(map(repr, book.sheet_names))}"
            )
        cells = book.parse(
            sheet if sheet is not None else 0, header=None, dtype="str", na_filter=False
        )
    if cells.empty:
        raise InputError(f"{path} is empty")
    return cells.fillna("")


def _with_names(cells: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The first row as names; ``line`` counts the breaks within quoted cells of a CSV file."""
    several = pd.Series(0, index=cells.index)
    if path.suffix.lower() != ".xlsx":
        for column in cells.columns:
            several += cells[column].str.count("\n")
    lines = pd.Series(range(1, len(cells) + 1)) + several.cumsum().shift(fill_value=0)
    names = cells.iloc[0].str.strip().tolist()
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(
            f"{path}: two columns have the same name: {', '.join(map(repr, repeated))}"
        )
    frame = cells.iloc[1:].set_axis(names, axis="columns").assign(line=lines.iloc[1:])
    blank = (frame[names] == "").all(axis="columns")
    return frame[~blank].reset_index(drop=True)


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a Parquet file: {error}") from error
    for column in frame.columns:
        frame[column] = frame[column].astype("object").map(str, na_action="ignore").astype("str")
    return frame.assign(line=range(1, len(frame) + 1))
