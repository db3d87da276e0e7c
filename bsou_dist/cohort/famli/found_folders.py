"""Folders of sessions that no table names: found on disk, and their files by study and name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from bsou_dist.cohort.famli.dates import days_of_dates
from bsou_dist.cohort.famli.exams import UID

SESSION = re.compile(r"(?P<study>[^_]+)_(?P<date>\d{8})_(?P<time>\d{6})")
"""Name of a session's folder: a StudyID, a date and a time."""
_SECONDS_PER_HOUR = 3600
_SECONDS_PER_DAY = 24 * _SECONDS_PER_HOUR
# How well a file fits a row, best first. Times of folders may be shifted by whole hours.
_SAME_TIME, _SHIFTED, _BY_NAME, _NO_FIT = range(4)


def without_dcm(names: pd.Series) -> pd.Series:
    """Names without the ending '.dcm', which one table or folder has and another has not."""
    return names.str.replace(r"\.dcm$", "", regex=True, case=False)


def find_folders(root: Path, clips: pd.DataFrame) -> int:
    """Fill in ``exam_folder`` and ``file_name`` of clips, in place, by what lies below ``root``.

    A clip's file is one of its name, with or without '.dcm', in a folder of its study. Of several
    the one counts whose folder has the clip's date and time, else the same but for whole hours. A
    name that is no DICOM UID needs such a folder. What is not found becomes missing;
    ``in_several_folders`` says where several files fit alike.

    Args:
        root: folder that holds the sessions' folders, however deep.
        clips: ``study_id``, ``file_name``, ``study_date`` and ``study_time``.

    Returns:
        How many files stand in no row.
    """
    files = pd.DataFrame(
        list(_files_of_sessions(root)), columns=["exam_folder", "found_name", "study_id", "at_s"]
    )
    files = files.astype({"at_s": "float64"})
    files["name"] = _name_of_file(files["found_name"])
    rows = clips[["study_id", "file_name"]].assign(
        name=_name_of_file(clips["file_name"]),
        row_at_s=days_of_dates(clips["study_date"]) * _SECONDS_PER_DAY
        + _seconds_of_day(clips["study_time"]),
        row=clips.index,
    )
    pairs = rows.dropna(subset=["name"]).merge(files, on=["study_id", "name"])
    shift_s = (pairs["at_s"] - pairs["row_at_s"]).abs()
    shifted = shift_s.le(_SECONDS_PER_DAY) & (shift_s % _SECONDS_PER_HOUR).eq(0)
    is_uid = pairs["name"].str.fullmatch(UID, case=False)
    fit = pd.Series(_NO_FIT, index=pairs.index)
    fit = fit.mask(is_uid, _BY_NAME).mask(shifted, _SHIFTED).mask(shift_s.eq(0), _SAME_TIME)
    pairs = pairs.assign(fit=fit)[fit.ne(_NO_FIT)]
    best = pairs[pairs["fit"].eq(pairs.groupby("row")["fit"].transform("min"))]
    several = best["row"].duplicated(keep=False)
    found = best[~several].set_index("row")
    clips["in_several_folders"] = clips.index.isin(best.loc[several, "row"])
    clips["exam_folder"] = found["exam_folder"].reindex(clips.index).astype("str")
    clips["file_name"] = found["found_name"].reindex(clips.index).fillna(clips["file_name"])
    known = pd.MultiIndex.from_frame(pairs[["exam_folder", "found_name"]])
    in_no_row = ~pd.MultiIndex.from_frame(files[["exam_folder", "found_name"]]).isin(known)
    return int(in_no_row.sum())


def _name_of_file(paths: pd.Series) -> pd.Series:
    return without_dcm(paths.str.replace(r"^.*/", "", regex=True))


def _seconds_of_day(times: pd.Series) -> pd.Series:
    """Seconds since midnight of DICOM times, which may lack a leading zero; missing where none."""
    digits = times.str.replace(r"\..*|\D", "", regex=True)
    digits = digits.mask(digits.eq("")).str.zfill(6)
    parts = digits.str.extract(r"^(\d\d)(\d\d)(\d\d)$").astype("float64")
    return parts[0] * _SECONDS_PER_HOUR + parts[1] * 60 + parts[2]


def _files_of_sessions(root: Path) -> Iterator[tuple[str, str, str, float]]:
    """Each file of a session's folder: folder, name within it, study, and seconds since 1970."""
    for folder, below, _ in os.walk(root):
        for name in sorted(below):
            session = SESSION.fullmatch(name)
            if not session:
                continue
            at = pd.to_datetime(
                session["date"] + session["time"], format="%Y%m%d%H%M%S", errors="coerce"
            )
            at_s = at.timestamp() if not pd.isna(at) else float("nan")
            place = Path(folder, name)
            for path in _files_below(place):
                yield (
                    place.relative_to(root).as_posix(),
                    path.relative_to(place).as_posix(),
                    session["study"].upper(),
                    at_s,
                )
        below[:] = sorted(name for name in below if not SESSION.fullmatch(name))


def _files_below(folder: Path) -> Iterator[Path]:
    for place, below, names in os.walk(folder):
        below.sort()
        for name in sorted(names):
            yield Path(place, name)
