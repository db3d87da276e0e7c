"""Which clip gets which key, decided from the cohort table before any file is opened."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bsou_dist.errors import InputError
from bsou_dist.shards.pseudonym import Pseudonymizer

_IDENTITIES = ("patient_id", "study_id", "exam_id")
_COPIED = ("sweep", "clip_class", "device", "operator", "site", "bmi")


@dataclass(frozen=True)
class PlannedClip:
    """A clip to pack.

    Attributes:
        path: as the cohort table writes it.
        mm_per_px: spacing from the table, or None.
        key: `{study pseudonym}-{sweep or x}-{n}`, n counting the study's clips of that sweep in table order.
        columns: the manifest columns that do not depend on the file.
        identities: patient_id, study_id and exam_id; they never leave the private folder.
    """

    path: str
    mm_per_px: float | None
    key: str
    columns: dict[str, Any]
    identities: dict[str, str]


def plan_clips(cohort_table: pd.DataFrame, pseudonymizer: Pseudonymizer) -> list[PlannedClip]:
    """Plan every row, in table order.

    Raises:
        InputError: a column is missing, the table is empty, or a path or identity is empty or a path is there twice.
    """
    absent = [name for name in (*_IDENTITIES, "path") if name not in cohort_table]
    if absent:
        raise InputError(f"the cohort table has no column {', '.join(absent)}")
    if cohort_table.empty:
        raise InputError("the cohort table has no rows")
    for name in (*_IDENTITIES, "path"):
        if cohort_table[name].isna().any():
            raise InputError(f"{int(cohort_table[name].isna().sum())} rows of the cohort table have no {name}")
    twice = cohort_table["path"][cohort_table["path"].duplicated()]
    if len(twice):
        raise InputError(f"the cohort table names {twice.iloc[0]} more than once ({len(twice)} such rows); "
                         "a clip has one row")

    table = cohort_table.reindex(columns=[*_IDENTITIES, "path", "mm_per_px", *_COPIED])
    table = table.astype(object).where(table.notna(), None)
    seen: Counter[str] = Counter()
    clips = []
    for row in table.to_dict("records"):
        study = pseudonymizer.study(row["study_id"])
        stem = f"{study}-{row['sweep'] or 'x'}"
        columns = {"clip": pseudonymizer.clip(row["path"]), "patient": pseudonymizer.patient(row["patient_id"]),
                   "study": study, "exam": pseudonymizer.exam(row["exam_id"]), **{name: row[name] for name in _COPIED}}
        clips.append(PlannedClip(str(row["path"]), row["mm_per_px"], f"{stem}-{seen[stem]}", columns,
                                 {name: str(row[name]) for name in _IDENTITIES}))
        seen[stem] += 1
    return clips
