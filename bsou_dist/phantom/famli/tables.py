"""Rows to CSV files, and the places they lie at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from bsou_dist.phantom.famli.recordings import PROJECTS
from bsou_dist.phantom.famli.visits import FamliLayout

Row = Mapping[str, object]

_TABULAR = {
    "nejm_v4": "Tabular_data",
    "famli2_enrolled": "Tabular_data",
    "famli2": "FAMLI2_Tabular_Data",
    "famli3": "tabular",
}
_VIVLI_FOLDER = "StructuredData"
"""Folders of tables: any name with 'tabular' will do, only that of famli2_enrolled is known."""


def tabular_folder(layout: FamliLayout) -> str:
    """Folder of a layout's tables, relative to the root."""
    if layout == "famli3_vivli":
        return _VIVLI_FOLDER
    project = "famli2_enrolled" if layout == "nejm_v4" else layout  # they share the forms
    return f"{PROJECTS[project]}/{_TABULAR[layout]}"


def to_frame(rows: Iterable[Row], columns: Mapping[str, str] | Sequence[str]) -> pd.DataFrame:
    """The rows with those columns alone; what a row lacks is blank.

    Args:
        columns: names, or our names mapped to theirs.
    """
    ours = list(columns)
    theirs = list(columns.values()) if isinstance(columns, Mapping) else ours
    cells = [[row.get(name) for name in ours] for row in rows]
    return pd.DataFrame(cells, columns=theirs, dtype="object")


def write_csv(path: Path, rows: Iterable[Row], columns: Mapping[str, str] | Sequence[str]) -> None:
    """Write the rows as `to_frame` has them, in a folder that is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    to_frame(rows, columns).to_csv(path, index=False)
