"""Answers: the cohort that a right reader gives back, and what it must leave out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bsou_dist.phantom.famli.expected_labels import recoverable_labels
from bsou_dist.phantom.famli.instances import Excluded
from bsou_dist.phantom.famli.recordings import Recording
from bsou_dist.phantom.famli.tables import write_csv

ANSWERS_FOLDER = "truth"
COHORT_NAME = "cohort.csv"
EXCLUDED_NAME = "excluded.csv"

_COLUMNS = [
    "patient_id",
    "study_id",
    "exam_id",
    "path",
    "tag_raw",
    "sweep",
    "clip_class",
    "ga_days",
    "ga_source",
    "presentation",
    "placenta",
    "dvp_cm",
    "fetuses",
    "bmi",
    "site",
    "device",
    "operator",
    "visit_day",
    "mm_per_px",
]


def write_answers(
    found: Sequence[Recording], excluded: Sequence[Excluded], mm_per_px: float, root: Path
) -> Path:
    """Write the cohort that a right reader gives back, and the rows that it leaves out.

    Returns:
        The path of the cohort's table.
    """
    first_ages = _first_ages(found)
    operator_known = {
        (recording.visit.study_id, recording.scan.kind)
        for recording in found
        if _shows_operator(recording)
    }
    rows = []
    for recording in found:
        if recording.exclusion:
            continue
        visit, scan = recording.visit, recording.scan
        row = _row(recording, mm_per_px, first_ages.get(visit.pid))
        if (visit.study_id, scan.kind) in operator_known:
            row["operator"] = scan.exam.operator
        rows.append(row)
    folder = root / ANSWERS_FOLDER
    write_csv(folder / COHORT_NAME, rows, _COLUMNS)
    excluded_rows = [vars(row) for row in excluded]
    write_csv(folder / EXCLUDED_NAME, excluded_rows, ["table", "line", "path", "reason"])
    return folder / COHORT_NAME


def _first_ages(found: Sequence[Recording]) -> dict[str, float]:
    """Lowest age (days) by patient; with errors of dating, not always that of the first visit."""
    lowest: dict[str, float] = {}
    for recording in found:
        visit = recording.visit
        age_days = visit.first.labels.ga_days
        if age_days is not None:
            lowest[visit.pid] = min(age_days, lowest.get(visit.pid, age_days))
    return lowest


def _shows_operator(recording: Recording) -> bool:
    """True if this recording says who made those of its exam.

    Novices only ever hold a Butterfly; on one of those the tags of the exam say it, or in nejm_v4
    the exam's name.
    """
    return (
        recording.visit.layout == "nejm_v4"
        or recording.scan.kind == "console"
        or recording.tag is not None
    )


def _row(recording: Recording, mm_per_px: float, first_age_days: float | None) -> dict[str, object]:
    visit, scan = recording.visit, recording.scan
    labels = recoverable_labels(visit)
    visit_day: float | None = visit.first.visit_day
    device: str | None = scan.device.name
    if visit.layout == "nejm_v4":
        # it has neither dates nor devices, only ages and a mark of Butterfly exams
        visit_day = None
        if labels.ga_days is not None and first_age_days is not None:
            visit_day = labels.ga_days - first_age_days
        device = None if scan.kind == "console" else "Butterfly"
    has_spacing = recording.ending == ".mp4" and recording.spacing
    return {
        "patient_id": visit.pid,
        "study_id": visit.study_id,
        "exam_id": visit.exam_id(scan),
        "path": recording.path,
        "tag_raw": recording.tag,
        "sweep": recording.sweep,
        "clip_class": recording.clip_class if recording.tag else None,
        **vars(labels),
        "site": visit.clinic.replace("FA3-", "FAM-"),  # one clinic, whatever the study
        "device": device,
        "visit_day": visit_day,
        "mm_per_px": mm_per_px if has_spacing else None,
    }
