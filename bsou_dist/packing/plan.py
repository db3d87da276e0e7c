"""Which clip gets which key and which shard, decided from the cohort before any file is opened."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bsou_dist.cohort.frame_ranges import clip_names
from bsou_dist.common.errors import InputError
from bsou_dist.common.frame_range import FrameRange, parse_frame_range
from bsou_dist.shards.pseudonyms import Pseudonymizer

IDENTITIES = ("patient_id", "study_id", "exam_id")
PSEUDONYMS = ("clip", "patient", "study", "exam")
_COPIED = ("sweep", "clip_class", "device", "operator", "site", "bmi")
_COLUMNS = (*PSEUDONYMS, *_COPIED)
_FINGERPRINT_ROWS = 4096  # turned into text at a time: a million clips as one text are gigabytes


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
        frame_range: which frames of the file, where the clip is a part of it.
    """

    path: str
    line: int
    mm_per_px: float | None
    key: str
    columns: dict[str, Any]
    frame_range: FrameRange | None = None

    @property
    def pseudonym(self) -> str:
        """The clip's pseudonym, by which records know it."""
        pseudonym: str = self.columns["clip"]
        return pseudonym


@dataclass(frozen=True)
class PackPlan:
    """All clips of a cohort, `shard_clips` of them to a shard.

    Patients, and the studies of each, come in the order of their pseudonyms, since the order of a
    table tells ids apart; the clips of a study come in table order.

    `table` has the fields of `PlannedClip` as columns, and the identities, which never leave the
    private folder.
    """

    table: pd.DataFrame
    root: Path
    shard_clips: int

    @property
    def shards(self) -> range:
        """Numbers of all shards."""
        whole_shards, clips_left_over = divmod(len(self.table), self.shard_clips)
        return range(whole_shards + (clips_left_over > 0))

    def rows_of(self, shard: int) -> range:
        """Rows of the table that go into a shard."""
        first = shard * self.shard_clips
        return range(first, min(first + self.shard_clips, len(self.table)))

    def clips_of(self, shard: int) -> list[PlannedClip]:
        """Clips that go into a shard."""
        return self.clips(self.rows_of(shard))

    def clips(self, rows: range) -> list[PlannedClip]:
        """Clips of rows that follow one another."""
        table = self.table.iloc[rows.start : rows.stop]
        clips = []
        for row in _records(table):
            columns = {name: row[name] for name in _COLUMNS}
            text = row["frame_range"]
            part = None if text is None else parse_frame_range(text)
            clips.append(
                PlannedClip(row["path"], row["line"], row["mm_per_px"], row["key"], columns, part)
            )
        return clips

    def fingerprint(self) -> str:
        """Hash of all that shards take from the cohort: of one JSON list with an item per clip."""
        digest = hashlib.sha256(b"[")
        for start in range(0, len(self.table), _FINGERPRINT_ROWS):
            stop = min(start + _FINGERPRINT_ROWS, len(self.table))
            content = [
                [clip.key, clip.mm_per_px, clip.columns] for clip in self.clips(range(start, stop))
            ]
            text = json.dumps(content, sort_keys=True)
            items = text.removeprefix("[").removesuffix("]")
            separator = ", " if start > 0 else ""
            digest.update(f"{separator}{items}".encode())
        digest.update(b"]")
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Share:
    """Every `of`-th shard, from the `number`-th on, counted from 1.

    Shards are dealt out in turn and not in blocks, so that a share stays the same whatever is
    packed already: processes start at different times.
    """

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def shards(self, plan: PackPlan) -> range:
        """Numbers of its shards."""
        return plan.shards[self.number - 1 :: self.of]


ALL_SHARDS = Share(1, 1)


def plan_clips(
    cohort_table: pd.DataFrame, root: Path, shard_clips: int, pseudonymizer: Pseudonymizer
) -> PackPlan:
    """Plan every row, in the order that `PackPlan` tells.

    Raises:
        InputError: a column is missing, the table is empty, or a path or identity is empty or a
            clip is there twice.
    """
    _check(cohort_table)
    columns = ["path", "frame_range", "mm_per_px", *IDENTITIES, *_COPIED]
    table = cohort_table.reindex(columns=columns).reset_index(drop=True)
    # To the last digit, a body mass index is nearly as good as a name.
    table["bmi"] = table["bmi"].astype("float64").round(1)
    for name in ("path", *IDENTITIES):
        table[name] = table[name].astype(object).map(str)
    table["name"] = clip_names(table)

    pseudonym_functions = {
        "clip": ("name", pseudonymizer.clip),
        "patient": ("patient_id", pseudonymizer.patient),
        "study": ("study_id", pseudonymizer.study),
        "exam": ("exam_id", pseudonymizer.exam),
    }
    for name, (identity_column, pseudonym_of) in pseudonym_functions.items():
        identities = table[identity_column].unique()
        pseudonyms = {identity: pseudonym_of(identity) for identity in identities}
        table[name] = table[identity_column].map(pseudonyms)

    table = table.drop(columns="name")
    sweep = table["sweep"].astype(object).fillna("").replace("", "x").map(str)
    stem = table["study"] + "-" + sweep
    number_in_stem = stem.groupby(stem).cumcount()
    table["key"] = stem + "-" + number_in_stem.map(str)
    if "line" in cohort_table:
        table["line"] = cohort_table["line"].to_numpy()
    else:
        table["line"] = range(1, len(table) + 1)
    table = table.sort_values(["patient", "study"], kind="stable", ignore_index=True)
    return PackPlan(table, root, shard_clips)


def _check(cohort_table: pd.DataFrame) -> None:
    needed = (*IDENTITIES, "path")
    absent = [name for name in needed if name not in cohort_table]
    if absent:
        raise InputError(f"the cohort table has no column {', '.join(absent)}")
    if cohort_table.empty:
        raise InputError("the cohort table has no rows")
    for name in needed:
        empty_cells = int(cohort_table[name].isna().sum())
        if empty_cells:
            raise InputError(f"{empty_cells} rows of the cohort table have no {name}")
    repeated = cohort_table["path"][clip_names(cohort_table).duplicated()]
    if len(repeated):
        raise InputError(
            f"{len(repeated)} rows of the cohort table name a path that an earlier row names; a "
            "clip has one row"
        )


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as dictionaries of Python's own values, None for missing."""
    values = table.astype(object).where(table.notna(), None)
    rows = values.itertuples(index=False, name=None)
    return [dict(zip(table.columns, row, strict=True)) for row in rows]
