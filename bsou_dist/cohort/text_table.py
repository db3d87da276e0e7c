"""Tables as they were found: every cell as text, with the line that it stands on."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pandas as pd

from bsou_dist.cohort.columns import MISSING
from bsou_dist.common.csv_cells import unescaped_cell
from bsou_dist.common.errors import InputError

SEPARATORS = (",", ";", "\t", "|")


def read_text_table(
    path: Path, sheet: str | None = None, *, faults: list[str] | None = None
) -> pd.DataFrame:
    """Read all cells of a CSV, Parquet or Excel file as text, with their ``line``.

    Cells are as found; ``missing_as_nan`` comes next. The line of a Parquet file is the row,
    counted from 1.

    Args:
        path: the file.
        sheet: of an Excel file; its first by default.
        faults: None refuses a CSV that is not in UTF-8 or not separated by commas. A list takes in
            what was expected, and the file is read all the same.

    Raises:
        InputError: it can't be read, or two columns have one name.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _read_parquet(path)
    if suffix == ".xlsx":
        cells = _read_sheet(path, sheet)
        return _with_names(cells, _row_numbers(cells), path)
    cells = _unescaped(_read_csv(path) if faults is None else _read_odd_csv(path, faults))
    return _with_names(cells, _lines_of_csv(cells), path)


def missing_as_nan(frame: pd.DataFrame, also: tuple[str, ...] = ()) -> pd.DataFrame:
    """Strip cells, in place, and make those missing that mean 'not recorded'.

    Those are ``MISSING`` and ``also``. Returns ``frame``.
    """
    not_recorded = MISSING | set(also)
    for column in frame.columns.drop("line"):
        values = frame[column].drop_duplicates()
        text = values.str.strip()
        # -88.0 is -88: tables that went through a float column have such
        sentinel = text.str.lower().str.replace(r"^(-\d+)\.0+$", r"\1", regex=True)
        meant = text.mask(sentinel.isin(not_recorded))
        meaning_of = dict(zip(values, meant, strict=True))
        frame[column] = frame[column].map(meaning_of).astype("str")
    return frame


def _read_odd_csv(path: Path, faults: list[str]) -> pd.DataFrame:
    """Read a CSV whatever its separator, in UTF-8 or else in Latin-1, in which all bytes are text.

    Whoever separates by semicolons writes decimals with a comma.
    """
    with path.open("rb") as file:
        heading = file.readline()
    separator = max(SEPARATORS, key=lambda mark: heading.count(mark.encode()))
    encoding = "utf-8-sig"
    if not _is_utf8(path):
        encoding = "latin-1"
        faults.append("UTF-8, not Latin-1")
    cells = _read_csv(path, separator, encoding)
    if separator != ",":
        faults.append(f"commas between cells, not {separator!r}")
    if separator == ";":
        cells = cells.replace(r"^(\s*-?\d+),(\d+\s*)$", r"\1.\2", regex=True)
    return cells


def _is_utf8(path: Path) -> bool:
    with path.open(encoding="utf-8") as file:
        try:
            while file.read(1 << 20):
                pass
        except UnicodeDecodeError:
            return False
    return True


def _read_csv(path: Path, separator: str = ",", encoding: str = "utf-8-sig") -> pd.DataFrame:
    if separator == ",":
        _check_commas(path)
    try:
        return pd.read_csv(
            path,
            sep=separator,
            header=None,
            dtype="str",
            na_filter=False,
            skip_blank_lines=False,
            encoding=encoding,
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
            "quote cells that hold one"
        ) from error


def _unescaped(cells: pd.DataFrame) -> pd.DataFrame:
    """Cells of a CSV without the apostrophes that keep spreadsheets from reading formulas."""
    for column in cells.columns:
        may_be_escaped = cells[column].str.startswith("'")
        if may_be_escaped.any():
            plain = cells.loc[may_be_escaped, column].map(unescaped_cell)
            cells[column] = cells[column].mask(may_be_escaped, plain)
    return cells


def _check_commas(path: Path) -> None:
    """InputError if another separator than a comma stands in the first line."""
    with path.open("rb") as file:
        heading = file.readline()
    if b"," in heading:
        return
    for mark in SEPARATORS[1:]:
        if mark.encode() in heading:
            raise InputError(f"{path} is separated by {mark!r}; save it with commas")


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
        chosen = 0 if sheet is None else sheet  # 0 is the first
        cells = book.parse(chosen, header=None, dtype="str", na_filter=False)
    if cells.empty:
        raise InputError(f"{path} is empty")
    return cells.fillna("")


def _row_numbers(cells: pd.DataFrame) -> pd.Series:
    return pd.Series(range(1, len(cells) + 1))


def _lines_of_csv(cells: pd.DataFrame) -> pd.Series:
    """Line on which each row begins; quoted cells with line breaks take several."""
    breaks = pd.Series(0, index=cells.index)
    for column in cells.columns:
        breaks += cells[column].str.count("\n")
    return _row_numbers(cells) + breaks.cumsum().shift(fill_value=0)


def _with_names(cells: pd.DataFrame, lines: pd.Series, path: Path) -> pd.DataFrame:
    """Cells without the first row, which names the columns, and without blank rows."""
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
        cells = frame[column].astype("object").map(str, na_action="ignore")
        frame[column] = cells.astype("str")
    return frame.assign(line=range(1, len(frame) + 1))
