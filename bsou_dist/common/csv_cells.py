"""CSV cells that a spreadsheet does not take for formulas, and back."""

from __future__ import annotations

import re

import pandas as pd

_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
"""Begins like a formula, or like a cell that was escaped before."""

_ESCAPED = re.compile(r"'+[=+\-@\t\r\n]")


def escaped_cell(text: str) -> str:
    """Put an apostrophe in front of what a spreadsheet might take for a formula.

    Numbers stay as they are. A text that begins with apostrophes and such a character gets one
    more, so that `unescaped_cell` gives back what was there.
    """
    return f"'{text}" if _FORMULA.match(text) and not _is_number(text) else text


def unescaped_cell(text: str) -> str:
    """Take the apostrophe away that `escaped_cell` has put in front."""
    is_escaped = _ESCAPED.match(text) is not None and not _is_number(text[1:])
    return text[1:] if is_escaped else text


def escaped_table(table: pd.DataFrame) -> pd.DataFrame:
    """Copy of a table whose texts are escaped cells, and so are the names of its columns."""
    escaped = table.copy(deep=False)
    for position, name in enumerate(table.columns):
        column = table.iloc[:, position]
        if not pd.api.types.is_numeric_dtype(column):
            escaped[name] = column.map(_escaped_value, na_action="ignore")
    return escaped.rename(columns=_escaped_value)


def _escaped_value(value: object) -> object:
    return escaped_cell(value) if isinstance(value, str) else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text and text == text.strip()
