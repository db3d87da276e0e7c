"""Tables of a layout as fields: our names, codes decoded, numbers read, bad cells gathered."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

import pandas as pd

from bsou_dist.cohort.bad_cells import BadCell, bad_cells
from bsou_dist.cohort.column_map import ColumnMap, TableSource
from bsou_dist.cohort.columns import COLUMNS
from bsou_dist.cohort.famli.dates import DATE_EXAMPLES, days_of_dates
from bsou_dist.cohort.famli.found_folders import SESSION
from bsou_dist.cohort.famli.table_roles import NUMBERS, TABLE_FIELDS
from bsou_dist.cohort.text_table import missing_as_nan, read_text_table
from bsou_dist.cohort.validate import find_out_of_range
from bsou_dist.common.errors import InputError

_IDS = {"patient_id", "study_id"}
_PATHS = {"exam_folder", "file_path", "file_name"}
_PLAIN_CODE = re.compile(r"-?\d{1,3}(\.0+)?")
_SHOWN_CODES = 10
_DEPTH = 3


@dataclass
class Tables:
    """Reader of tables by role. It gathers bad cells, notes and the file of each role."""

    root: Path
    mapping: ColumnMap
    bad: list[BadCell] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)

    def read(self, role: str, *, sentinels: bool = True) -> pd.DataFrame:
        """Fields of a table as text (missing as NaN) and ``line``, or no rows if it may be absent.

        Ids are in capitals, so that tables which spell them in two ways meet. With ``sentinels``
        off, other cells that mean 'not recorded' stay as they are.

        Raises:
            InputError: no such table or column.
        """
        fields = list(TABLE_FIELDS[role].all)
        source = self.mapping.tables.get(role)
        if source is None:
            return _without_rows(fields)
        path = self._file_of(source)
        if path is None:
            return _without_rows(fields)
        self.files[role] = path
        faults: list[str] = []
        raw = read_text_table(path, source.sheet, faults=faults)
        for fault in faults:
            self.blame(role, [BadCell(1, "(whole table)", "", fault, resolved="read all the same")])
        cells = {name: raw[header] for name, header in _headers(raw, source, path).items()}
        table = pd.DataFrame(cells, index=raw.index).assign(line=raw["line"])
        if sentinels:
            table = missing_as_nan(table, source.missing)
        else:
            table[list(cells)] = table[list(cells)].apply(lambda column: column.str.strip())
        table = table.reindex(columns=[*fields, "line"])
        table = table.astype(dict.fromkeys(fields, "str"))
        for key in _IDS & set(fields):
            table[key] = table[key].str.upper().replace("", None)
        for name in sorted(_PATHS & set(fields)):
            self._turn_slashes(role, table, name)
        return table

    def _turn_slashes(self, role: str, table: pd.DataFrame, name: str) -> None:
        """Read backslashes of paths as slashes, in place."""
        backward = table[name].str.contains("\\", regex=False).eq(True)
        cells = bad_cells(table, name, backward, "a path with slashes")
        self.blame(role, [replace(cell, resolved="read with slashes") for cell in cells])
        table[name] = table[name].str.replace("\\", "/", regex=False)

    def _file_of(self, source: TableSource) -> Path | None:
        """Path of a table; None, with a note, for an optional one that is not there."""
        found = _find(self.root, source.file)
        if len(found) > 1:
            self.notes.append(f"{len(found)} files fit {source.file}; {found[0].name} was read")
        if found:
            return found[0]
        if not source.optional:
            parts = {table.file.split("/")[0] for table in self.mapping.tables.values()}
            projects = ", ".join(sorted(parts - {"**"}))
            what = "tables and videos" if "**" in parts else f"projects ({projects})"
            raise InputError(
                f"{self.root} has no {source.file}; it must be the folder that holds the {what}"
            )
        self.notes.append(f"no {source.file}: what it tells is missing")
        return None

    def decode(self, role: str, table: pd.DataFrame) -> None:
        """Turn codes into ours and text into numbers in their unit, in place.

        What can't be used is noted as a bad cell and made missing.
        """
        bad = self.mapping.decode(table)
        for name in table.columns.intersection(list(NUMBERS)):
            outside, allowed = find_out_of_range(table[name], NUMBERS[name])
            bad += bad_cells(table, name, outside, allowed)
            table[name] = table[name].mask(outside)
        self.blame(role, bad)

    def note(self, count: int, what: str) -> None:
        """Note how many of something were found, if any."""
        if count:
            self.notes.append(f"{count} {what}")

    def read_dates(self, role: str, table: pd.DataFrame, names: Iterable[str]) -> None:
        """Turn dates into days since 1970, in place. What is no date becomes missing, and noted."""
        for name in names:
            days = days_of_dates(table[name])
            unread = table[name].notna() & days.isna()
            self.blame(role, bad_cells(table, name, unread, DATE_EXAMPLES))
            table[name] = days

    def one_row_each(self, role: str, table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
        """``table`` with ``keys`` as index, a row for each; rows without the first are dropped.

        Of several rows for a key a cell counts if the others say the same or nothing. Cells that
        contradict one another become missing, and are bad.
        """
        fields = list(table.columns.drop(["line", *keys]))
        table = table.dropna(subset=[keys[0]]).drop_duplicates(subset=[*keys, *fields])
        repeated = table.duplicated(keys, keep=False)
        repeats = table[repeated]
        groups = repeats.groupby(keys, sort=False, dropna=False)
        merged = groups.first()
        contradicted = groups[fields].nunique().gt(1)
        merged[fields] = merged[fields].mask(contradicted)
        self._blame_contradictions(role, repeats.set_index(keys), contradicted)
        single = table[~repeated].set_index(keys)
        return pd.concat([single, merged]) if len(merged) else single

    def _blame_contradictions(
        self, role: str, repeats: pd.DataFrame, contradicted: pd.DataFrame
    ) -> None:
        """Note the cells of repeated rows that contradict one another."""
        for name in contradicted.columns[contradicted.any()]:
            keys = contradicted.index[contradicted[name]]
            rows = repeats[repeats.index.isin(keys)].reset_index()
            given = rows[name].notna()
            self.blame(role, bad_cells(rows, name, given, "one value in all rows of one id"))

    def blame(self, role: str, cells: list[BadCell]) -> None:
        """Note bad cells of a table under its file's name and its own headers.

        What they hold is not kept: it may be somebody's id, or free text.
        """
        source = self.mapping.tables.get(role)
        for cell in cells:
            header = (source and source.header_of(cell.column)) or cell.column
            self.bad.append(replace(cell, column=header, value="", table=self.files[role].name))

    def drop_uncoded(self, role: str, table: pd.DataFrame, name: str) -> None:
        """Make a field missing, in place and with a note, whose codes nobody has given."""
        if name in self.mapping.codes or not table[name].notna().any():
            return
        header = self.mapping.tables[role].header_of(name)
        values = sorted(table[name].dropna().unique())
        codes = [value for value in values if _PLAIN_CODE.fullmatch(value)]
        examples = ", ".join(map(repr, codes[:_SHOWN_CODES])) or "words"
        first, second = COLUMNS[name].allowed
        self.notes.append(
            f"{name} is missing: {header} of {self.files[role].name} holds {examples}, and no "
            "map says what they mean. Give one of your own, with base: NAME and "
            f"codes: {{{name}: {{1: {first}, 2: {second}}}}}"
        )
        table[name] = pd.Series(pd.NA, index=table.index, dtype="str")


def _without_rows(fields: list[str]) -> pd.DataFrame:
    empty = pd.DataFrame({name: pd.Series(dtype="str") for name in fields})
    return empty.assign(line=pd.Series(dtype="int64"))


def _find(root: Path, pattern: str) -> list[Path]:
    """Files below ``root`` that fit a pattern, whatever the case; the one to read comes first.

    Each part of the pattern may hold ``*``; ``**`` is the folder itself and those up to
    ``_DEPTH`` levels below, but for the folders of sessions. The one to read is, in the first
    folder that has any, the file of the latest date in its name, then of the shortest name.
    """
    *folder_patterns, name_pattern = pattern.split("/")
    folders = [root]
    for part in folder_patterns:
        if part == "**":
            folders = [deeper for folder in folders for deeper in _with_folders_below(folder)]
            continue
        matches = [path for folder in folders for path in _matching(folder, part)]
        folders = [path for path in matches if path.is_dir()]
    files = []
    for folder in folders:
        latest_first = sorted(_matching(folder, name_pattern), key=_age_of_name)
        files += [path for path in latest_first if path.is_file()]
    return files


def _with_folders_below(folder: Path, depth: int = _DEPTH) -> list[Path]:
    """A folder and those below it, the nearest first; none of them holds a session's videos."""
    below = sorted(path for path in folder.iterdir() if path.is_dir())
    found = [folder]
    for path in below:
        if depth and not SESSION.fullmatch(path.name):
            found += _with_folders_below(path, depth - 1)
    return found


def _age_of_name(file: Path) -> tuple[int, int]:
    """Sort key of files: the last date in their name, latest first, then the name's length."""
    date = max(re.findall(r"\d{8}", file.name), default="0")
    return -int(date), len(file.name)


def _matching(folder: Path, pattern: str) -> list[Path]:
    return sorted(
        path for path in folder.iterdir() if fnmatchcase(path.name.lower(), pattern.lower())
    )


def _headers(raw: pd.DataFrame, source: TableSource, path: Path) -> dict[str, str]:
    """The table's own spelling of the header of each field."""
    own_spelling = {name.lower(): name for name in raw.columns}
    wanted = {name: header for name, header in source.columns.items() if header}
    asked = {**source.columns_if_any, **source.columns}.values()
    _check_case(raw, {header.lower() for header in asked if header}, path)
    absent = sorted(header for header in wanted.values() if header.lower() not in own_spelling)
    if absent:
        headers = ", ".join(map(str, raw.columns.drop("line")))
        raise InputError(
            f"{path} has no column {', '.join(map(repr, absent))}, which the column map names; "
            f"it has {headers}. A map of your own (base: ...) can name another column, or null"
        )
    for name, header in source.columns_if_any.items():
        if header and header.lower() in own_spelling:
            wanted[name] = header
    return {name: own_spelling[header.lower()] for name, header in wanted.items()}


def _check_case(raw: pd.DataFrame, wanted: set[str], path: Path) -> None:
    """InputError if two columns could be meant by one header, since its case does not count."""
    spellings: dict[str, list[str]] = defaultdict(list)
    for name in raw.columns:
        spellings[name.lower()].append(repr(name))
    for header in sorted(wanted):
        if len(spellings[header]) > 1:
            raise InputError(
                f"{path} has columns that differ only in case: {' and '.join(spellings[header])}; "
                "nobody can tell which one counts. Rename or take out one of them"
            )
