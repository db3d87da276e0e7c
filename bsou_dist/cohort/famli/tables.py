"""The tables of a layout as fields: our names, codes decoded, numbers read, and what is wrong with
any of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

import pandas as pd

from bsou_dist.cohort.bad_cells import BadCell, bad_cells
from bsou_dist.cohort.column_map import ColumnMap, TableSource
from bsou_dist.cohort.columns import COLUMNS
from bsou_dist.cohort.famli.table_roles import NUMBERS, TABLE_FIELDS
from bsou_dist.cohort.text_table import missing_as_nan, read_text_table
from bsou_dist.cohort.validate import find_out_of_range
from bsou_dist.common.errors import InputError

_IDS = {"patient_id", "study_id"}


@dataclass
class Tables:
    """Reads tables by role and gathers bad cells, notes and the file of each role."""

    root: Path
    mapping: ColumnMap
    bad: list[BadCell] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)

    def read(self, role: str, *, sentinels: bool = True) -> pd.DataFrame:
        """Facts of a table as text (missing as NaN) and ``line``; no rows if an optional table is
        not there.

        Ids are in capitals, so that tables which spell them in two ways meet. With ``sentinels``
        off, other cells that mean 'not recorded' stay as they are.
        """
        fields = [field for group in TABLE_FIELDS[role] for field in group]
        source = self.mapping.tables.get(role)
        found = _find(self.root, source.file) if source else []
        if source is None or not found:
            if source and not source.optional:
                projects = {table.file.split("/")[0] for table in self.mapping.tables.values()}
                raise InputError(
                    f"{self.root} has no {source.file}; it must be the folder that holds the "
                    f"projects ({', '.join(sorted(projects))})"
                )
            if source:
                self.notes.append(f"no {source.file}: what it tells is missing")
            empty = pd.DataFrame({field: pd.Series(dtype="str") for field in fields})
            return empty.assign(line=pd.Series(dtype="int64"))
        path = self.files[role] = found[0]
        if len(found) > 1:
            self.notes.append(f"{len(found)} files fit {source.file}; {path.name} was read")
        raw = read_text_table(path, source.sheet)
        chosen = {field: raw[header] for field, header in _headers(raw, source, path).items()}
        table = pd.DataFrame(chosen, index=raw.index).assign(line=raw["line"])
        if sentinels:
            table = missing_as_nan(table, source.missing)
        else:
            table[list(chosen)] = table[list(chosen)].apply(lambda cells: cells.str.strip())
        table = table.reindex(columns=[*fields, "line"]).astype(dict.fromkeys(fields, "str"))
        for key in _IDS & set(fields):
            table[key] = table[key].str.upper().replace("", None)
        return table

    def decode(self, role: str, table: pd.DataFrame) -> None:
        """Codes to ours and text to numbers in their unit, in place; what can't be used is blamed
        and made missing.
        """
        cells = self.mapping.decode(table)
        for name in table.columns.intersection(list(NUMBERS)):
            outside, allowed = find_out_of_range(table[name], NUMBERS[name])
            cells += bad_cells(table, name, outside, allowed)
            table[name] = table[name].mask(outside)
        self.blame(role, cells)

    def note(self, count: int, what: str) -> None:
        """Note how many of something there are, if any."""
        if count:
            self.notes.append(f"{count} {what}")

    def one_row_each(self, role: str, table: pd.DataFrame, key: str) -> pd.DataFrame:
        """``table`` by ``key``; a second row for a key must say the same. Rows without it belong to
        nobody.
        """
        table = table.dropna(subset=[key]).drop_duplicates(subset=list(table.columns.drop("line")))
        again = table[key].duplicated()
        first = table.drop_duplicates(key).set_index(key)["line"].to_dict()
        self.blame(
            role,
            [
                BadCell(
                    int(line),
                    key,
                    "(repeated)",
                    f"one row each; another row, line {first[value]}, says something else",
                )
                for line, value in zip(table.loc[again, "line"], table.loc[again, key], strict=True)
            ],
        )
        return table[~again].set_index(key)

    def blame(self, role: str, cells: list[BadCell]) -> None:
        """Note bad cells of a table under its file's name and its own headers."""
        source = self.mapping.tables.get(role)
        headers = {**source.columns_if_any, **source.columns} if source else {}
        self.bad += [
            replace(
                cell, column=headers.get(cell.column) or cell.column, table=self.files[role].name
            )
            for cell in cells
        ]

    def drop_uncoded(self, role: str, table: pd.DataFrame, field: str) -> None:
        """Make a field missing, in place and with a note, whose codes nobody has given."""
        if field in self.mapping.codes or not table[field].notna().any():
            return
        header, (first, second) = self.mapping.tables[role].columns[field], COLUMNS[field].allowed
        found = ", ".join(repr(value) for value in sorted(table[field].dropna().unique())[:10])
        self.notes.append(
            f"{field} is missing: {header} of {self.files[role].name} holds {found}, and no map "
            "says what "
            f"they mean. Give one of your own, with base: NAME and codes: {{{field}: {{1: {first}, "
            f"2: {second}}}}}"
        )
        table[field] = pd.Series(pd.NA, index=table.index, dtype="str")


def _find(root: Path, pattern: str) -> list[Path]:
    """Files below ``root`` by a pattern whose parts may hold ``*``, whatever the case; the one to
    read comes first.

    That is, in the first folder that has one, the file of the latest date in its name, then of the
    shortest name.
    """
    *folders, name = pattern.split("/")
    places = [root]
    for part in folders:
        places = [found for place in places for found in _matching(place, part) if found.is_dir()]
    return [
        file
        for place in places
        for file in sorted(_matching(place, name), key=_age_of_name)
        if file.is_file()
    ]


def _age_of_name(file: Path) -> tuple[int, int]:
    """Sorts files by the last date in their name, latest first."""
    date = max(re.findall(r"\d{8}", file.name), default="0")
    return -int(date), len(file.name)


def _matching(folder: Path, pattern: str) -> list[Path]:
    return sorted(
        path for path in folder.iterdir() if fnmatchcase(path.name.lower(), pattern.lower())
    )


def _headers(raw: pd.DataFrame, source: TableSource, path: Path) -> dict[str, str]:
    """The table's own spelling of the header of each field."""
    by_lower = {name.lower(): name for name in raw.columns}
    wanted = {field: header for field, header in source.columns.items() if header}
    absent = sorted(header for header in wanted.values() if header.lower() not in by_lower)
    if absent:
        found = ", ".join(map(str, raw.columns.drop("line")))
        raise InputError(
            f"{path} has no column {', '.join(map(repr, absent))}, which the column map names; it "
            "has "
            f"{found}. A map of your own (base: ...) can name another column, or null"
        )
    wanted |= {
        field: header
        for field, header in source.columns_if_any.items()
        if header and header.lower() in by_lower
    }
    return {field: by_lower[header.lower()] for field, header in wanted.items()}
