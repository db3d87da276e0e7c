"""Which clip gets which key and which shard, decided from the cohort table before any file is
opened.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bsou_dist.common.errors import InputError
from bsou_dist.shards.pseudonyms import Pseudonymizer

IDENTITIES = ("patient_id", "study_id", "exam_id")
PSEUDONYMS = ("clip", "patient", "study", "exam")
_COPIED = ("sweep", "clip_class", "device", "operator", "site", "bmi")
_COLUMNS = (*PSEUDONYMS, *_COPIED)
_FINGERPRINT_ROWS = 4096  # turned into text at a time


@dataclass(frozen=True)
class PlannedClip:
    """A clip to pack.

    Attributes:
        path: as the cohort table writes it.
        line: where the cohort table has it.
        mm_per_px: spacing from the table, or None.
        key: `{study pseudonym}-{sweep or x}-{n}`, n counting the study's clips of that sweep in
            table order.
        columns: the manifest columns that do not depend on the file.
    """

    path: str
    line: int
    mm_per_px: float | None
    key: str
    columns: dict[str, Any]


@dataclass(frozen=True)
class PackPlan:
    """All clips of a cohort, in table order, `shard_clips` of them to a shard.

    `table` has the fields of `PlannedClip` as columns, and the identities, which never leave the
    private folder.
    """

    table: pd.DataFrame
    root: Path
    shard_clips: int

    @property
    def shards(self) -> range:
        """Numbers of all shards."""
        return range(-(-len(self.table) // self.shard_clips))

    def rows_of(self, shard: int) -> range:
        """Rows of the table that go into a shard."""
        first = shard * self.shard_clips
        return range(first, min(first + self.shard_clips, len(self.table)))

    def clips(self, rows: range) -> list[PlannedClip]:
        """The clips of some rows that follow one another."""
        return [
            PlannedClip(
                row["path"],
                row["line"],
                row["mm_per_px"],
                row["key"],
                {name: row[name] for name in _COLUMNS},
            )
            for row in _records(self.table.iloc[rows.start : rows.stop])
        ]

    def fingerprint(self) -> str:
        """Hash of all that shards take from the cohort."""
        text = hashlib.sha256()
        for start in range(0, len(self.table), _FINGERPRINT_ROWS):
            clips = self.clips(range(start, min(start + _FINGERPRINT_ROWS, len(self.table))))
            content = json.dumps(
                [[clip.key, clip.mm_per_px, clip.columns] for clip in clips], sort_keys=True
            )
            text.update((f"[{content[1:-1]}" if start == 0 else f", {content[1:-1]}").encode())
        text.update(b"]")
        return text.hexdigest()[:16]


def plan_clips(
    cohort_table: pd.DataFrame, root: Path, shard_clips: int, pseudonymizer: Pseudonymizer
) -> PackPlan:
    """Plan every row, in table order.

    Raises:
        InputError: a column is missing, the table is empty, or a path or identity is empty or a
            path is there twice.
    """
    _check(cohort_table)
    table = cohort_table.reindex(columns=["path", "mm_per_px", *IDENTITIES, *_COPIED]).reset_index(
        drop=True
    )
    table["bmi"] = (
        table["bmi"].astype("float64").round(1)
    )  # to the last digit, it is nearly as good as a name
    for name in ("path", *IDENTITIES):
        table[name] = table[name].astype(object).map(str)
    pseudonym_of: dict[str, Callable[[object], str]] = {
        "clip": pseudonymizer.clip,
        "patient": pseudonymizer.patient,
        "study": pseudonymizer.study,
        "exam": pseudonymizer.exam,
    }
    for name, source in zip(PSEUDONYMS, ("path", *IDENTITIES), strict=True):
        identities = table[source].unique()
        table[name] = table[source].map(
            dict(zip(identities, map(pseudonym_of[name], identities), strict=True))
        )
    stem = table["study"] + "-" + table["sweep"].astype(object).fillna("").replace("", "x").map(str)
    table["key"] = stem + "-" + stem.groupby(stem).cumcount().map(str)
    table["line"] = (
        cohort_table["line"].to_numpy() if "line" in cohort_table else range(1, len(table) + 1)
    )
    return PackPlan(table, root, shard_clips)


def _check(cohort_table: pd.DataFrame) -> None:
    needed = (*IDENTITIES, "path")
    absent = [name for name in needed if name not in cohort_table]
    if absent:
        raise InputError(f"the cohort table has no column {', '.join(absent)}")
    if cohort_table.empty:
        raise InputError("the cohort table has no rows")
    for name in needed:
        if cohort_table[name].isna().any():
            raise InputError(
                f"{int(cohort_table[name].isna().sum())} rows of the cohort table have no {name}"
            )
    twice = cohort_table["path"][cohort_table["path"].duplicated()]
    if len(twice):
        raise InputError(
            f"the cohort table names {twice.iloc[0]} more than once ({len(twice)} such rows); "
            "a clip has one row"
        )


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as dictionaries of Python's own values, None for missing."""
    values = table.astype(object).where(table.notna(), None)
    return [
        dict(zip(table.columns, row, strict=True))
        for row in values.itertuples(index=False, name=None)
    ]
