"""Bad cells of a cohort table, collected so that one error can name them all."""

from __future__ import annotations

import re
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


@dataclass(frozen=True)
class BadCell:
    """One cell that can't be used: where it stands, what it holds, what would be accepted.

    ``value`` and ``accepted`` go into logs, and so they hold no id and no free text (see
    ``shown``). ``table`` is the name of its file where a cohort is made of several.
    """

    line: int
    column: str
    value: str
    accepted: str
    table: str = ""

    def __str__(self) -> str:
        place = f"{self.table} line" if self.table else "line"
        return f"{place} {self.line}, {self.column} = {self.value}: {self.accepted}"

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
