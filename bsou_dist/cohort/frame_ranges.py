"""Clips that are parts of a file: what tells them apart, and which ranges cannot be right."""

from __future__ import annotations

import math
from typing import NamedTuple

import pandas as pd

from bsou_dist.cohort.bad_cells import BadCell, bad_cells, shown
from bsou_dist.common.frame_range import ACCEPTED, FrameRange, parse_frame_range

COLUMN = "frame_range"

_BETWEEN = "\0"  # no path holds it, so that no path is another clip's name


def clip_names(table: pd.DataFrame) -> pd.Series:
    """Text that names each clip of a cohort: its path, and its frames where it is a part of a file.

    `table` has `path` and may have `frame_range`, of which the file's number of frames does not
    count: it says nothing about which clip it is.
    """
    paths = table["path"]
    if COLUMN not in table.columns or not table[COLUMN].notna().any():
        return paths
    frames = table[COLUMN].str.partition("/")[0]
    return (paths + _BETWEEN + frames).where(table[COLUMN].notna(), paths)


def tidy_frame_ranges(table: pd.DataFrame) -> None:
    """Spell ranges in one way, in place; what is none stays as it is."""
    spelling = {}
    for text in table[COLUMN].dropna().unique():
        try:
            spelling[text] = str(parse_frame_range(text))
        except ValueError:
            spelling[text] = text
    table[COLUMN] = table[COLUMN].map(spelling).astype("str")


def find_bad_frame_ranges(table: pd.DataFrame) -> list[BadCell]:
    """Cells that are no range of frames, and parts of a file that two patients share."""
    good = {}
    for text in table[COLUMN].dropna().unique():
        try:
            good[text] = parse_frame_range(text)
        except ValueError:
            continue
    is_bad = table[COLUMN].notna() & ~table[COLUMN].isin(list(good))
    bad = bad_cells(table, COLUMN, is_bad, ACCEPTED)

    patients_of_file = table.groupby("path")["patient_id"].transform("nunique")
    shared = table[patients_of_file.gt(1) & ~is_bad]
    for _, rows in shared.groupby("path"):
        bad += _overlaps_of_patients(rows, good)
    return bad


class _Part(NamedTuple):
    """Frames of a file that a row of the table gives to a patient."""

    start: int
    stop: float
    line: int
    patient: str
    text: object


def _overlaps_of_patients(rows: pd.DataFrame, ranges: dict[str, FrameRange]) -> list[BadCell]:
    """Parts of one file that reach into a part of another patient."""
    parts = []
    for line, patient, text in zip(rows["line"], rows["patient_id"], rows[COLUMN], strict=True):
        frames = ranges.get(text)
        start, stop = (0, math.inf) if frames is None else (frames.start, frames.stop)
        parts.append(_Part(start, stop, int(line), patient, text))
    parts.sort(key=lambda part: (part.start, part.stop, part.line))
    bad = []
    furthest = parts[0]
    for part in parts[1:]:
        if part.start < furthest.stop and part.patient != furthest.patient:
            accepted = (
                f"frames of one patient; those on line {furthest.line} overlap with them and are "
                f"patient {furthest.patient!r}"
            )
            bad.append(BadCell(part.line, COLUMN, shown(part.text), accepted))
        if part.stop > furthest.stop:
            furthest = part
    return bad
