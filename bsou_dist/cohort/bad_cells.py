"""Bad cells of a cohort table, collected so that one error or one list can name them all."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bsou_dist.common.errors import InputError

NOT_SHOWN = "(not shown)"
"""Stands for what a cell holds, where that may tell who somebody is."""

IDENTITY_COLUMNS = ("patient_id", "study_id", "exam_id", "path")

_CODE = re.compile(r"-?\d{1,3}(\.\d{1,2})?")

MAX_LISTED = 20
"""How many bad cells a message spells out; the rest are counted."""
_MAX_LINES = 5  # in a note, which tells of many cells at once
AS_MISSING = "taken as missing"


@dataclass(frozen=True)
class BadCell:
    """One cell that can't be used: where it stands, what it holds, what would be accepted.

    ``value`` and ``accepted`` go into logs, and so they hold no id and no free text (see
    ``shown``); ``value`` is empty where nothing of it is said. ``table`` is the name of its file
    where a cohort is made of several. ``resolved`` is what became of the cell where bad cells are
    no error.
    """

    line: int
    column: str
    value: str
    accepted: str
    table: str = ""
    resolved: str = AS_MISSING

    def __str__(self) -> str:
        place = f"{self.table} line" if self.table else "line"
        value = f" = {self.value}" if self.value else ""
        return f"{place} {self.line}, {self.column}{value}: {self.accepted}"

    @property
    def place(self) -> tuple[str, int, str, str]:
        """Sort key of cells by where they stand."""
        return self.table, self.line, self.column, self.accepted


def bad_cells(
    table: pd.DataFrame, column: str, bad: pd.Series | np.ndarray, accepted: str
) -> list[BadCell]:
    """One BadCell for each row of ``table`` where the boolean ``bad`` holds.

    Args:
        table: with ``column`` and ``line``.
        bad: boolean by row.
        accepted: what the column would take.
    """
    if not np.any(bad):  # as nearly always, and to choose no rows takes pandas long
        return []
    rows = table.loc[bad, ["line", column]]
    if column in IDENTITY_COLUMNS:
        return [
            BadCell(int(line), column, "empty" if pd.isna(value) else NOT_SHOWN, accepted)
            for line, value in zip(rows["line"], rows[column], strict=True)
        ]
    return [
        BadCell(int(line), column, shown(value), accepted)
        for line, value in zip(rows["line"], rows[column], strict=True)
    ]


def shown(value: object) -> str:
    """A cell as a message shows it: a number, a short code of digits, or 'empty'.

    Other text may name somebody. Line and column tell where to look for it.
    """
    if pd.isna(value):  # type: ignore[call-overload]
        return "empty"
    if isinstance(value, float):
        return f"{value:g}"
    return repr(value) if _CODE.fullmatch(str(value)) else NOT_SHOWN


def raise_bad_cells(where: str, cells: Iterable[BadCell]) -> None:
    """Raise one InputError that names the bad cells, if there are any.

    The first ``MAX_LISTED`` are spelled out and the others counted.
    """
    ordered = sorted(cells, key=lambda cell: cell.place)
    if not ordered:
        return
    count = len(ordered)
    noun = "cell" if count == 1 else "cells"
    lines = [f"{where}: {count} bad {noun}"]
    lines += [f"  {cell}" for cell in ordered[:MAX_LISTED]]
    if count > MAX_LISTED:
        lines.append(f"  ... and {count - MAX_LISTED} more")
    raise InputError("\n".join(lines))


def note_bad_cells(cells: Iterable[BadCell]) -> list[str]:
    """Say in a sentence per table, column and reason what became of bad cells that are no error."""
    lines_of: dict[tuple[str, str, str, str], list[int]] = defaultdict(list)
    for cell in sorted(cells, key=lambda cell: cell.place):
        lines_of[cell.table, cell.column, cell.resolved, cell.accepted].append(cell.line)
    notes = []
    for (table, column, resolved, accepted), lines in lines_of.items():
        noun = "cell" if len(lines) == 1 else "cells"
        shown_lines = ", ".join(map(str, lines[:_MAX_LINES]))
        if len(lines) > _MAX_LINES:
            shown_lines += ", ..."
        notes.append(
            f"{table}, {column}: {len(lines)} {noun} {resolved} (line {shown_lines}); "
            f"expected is {accepted}"
        )
    return notes
