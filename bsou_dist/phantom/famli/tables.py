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
"""Any name that holds 'tabular', whatever its case, will do; that of famli2_enrolled alone is
known.
"""


def tabular_folder(layout: FamliLayout) -> str:
    """Relative to the root. nejm_v4 shares its forms with famli2_enrolled."""
    return f"{PROJECTS['famli2_enrolled' if layout == 'nejm_v4' else layout]}/{_TABULAR[layout]}"


def to_frame(rows: Iterable[Row], columns: Mapping[str, str] | Sequence[str]) -> pd.DataFrame:
    """The rows with those columns alone, renamed where `columns` maps our names to theirs; what is
    missing is blank.
    """
    ours = list(columns)
    theirs = list(columns.values()) if isinstance(columns, Mapping) else ours
    return pd.DataFrame(
        [[row.get(name) for name in ours] for row in rows], columns=theirs, dtype="object"
    )


def write_csv(path: Path, rows: Iterable[Row], columns: Mapping[str, str] | Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    to_frame(rows, columns).to_csv(path, index=False)
