"""The answers: the cohort that a right reader gives back, and what it must leave out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bsou_dist.phantom.famli.expected_labels import recoverable_labels
from bsou_dist.phantom.famli.instances import Excluded
from bsou_dist.phantom.famli.recordings import Recording
from bsou_dist.phantom.famli.tables import write_csv

TRUTH_FOLDER, COHORT_NAME, EXCLUDED_NAME = "truth", "cohort.csv", "excluded.csv"
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
    """Write both tables; returns the path of the cohort's."""
    first_ages: dict[str, float] = {}  # with errors of dating, not always that of the first visit
    for recording in found:
        age, pid = recording.visit.first.labels.ga_days, recording.visit.pid
        if age is not None:
            first_ages[pid] = min(age, first_ages.get(pid, age))
    told = {
        (recording.visit.study_id, recording.scan.kind)
        for recording in found
        if _tells_operator(recording)
    }
    rows = [
        _row(
            recording,
            mm_per_px,
            first_ages.get(recording.visit.pid),
            (recording.visit.study_id, recording.scan.kind) in told,
        )
        for recording in found
        if not recording.exclusion
    ]
    table = root / TRUTH_FOLDER / COHORT_NAME
    write_csv(table, rows, _COLUMNS)
    write_csv(
        root / TRUTH_FOLDER / EXCLUDED_NAME,
        [vars(row) for row in excluded],
        ["table", "line", "path", "reason"],
    )
    return table


def _tells_operator(recording: Recording) -> bool:
    """Novices only ever hold a Butterfly; on one of those the tags of the exam tell, or in nejm_v4
    its name.
    """
    return (
        recording.visit.layout == "nejm_v4"
        or recording.scan.kind == "console"
        or recording.tag is not None
    )


def _row(
    recording: Recording, mm_per_px: float, first_age: float | None, operator_told: bool
) -> dict[str, object]:
    visit, scan = recording.visit, recording.scan
    labels, nejm = recoverable_labels(visit), visit.layout == "nejm_v4"
    visit_day: float | None = visit.first.visit_day
    device: str | None = scan.device.name
    if nejm:  # it has neither dates nor devices, only ages and a mark of Butterfly exams
        visit_day = (
            None if labels.ga_days is None or first_age is None else labels.ga_days - first_age
        )
        device = None if scan.kind == "console" else "Butterfly"
    return {
        "patient_id": visit.pid,
        "study_id": visit.study_id,
        "exam_id": visit.exam_id(scan),
        "path": recording.path,
        "tag_raw": recording.tag,
        "sweep": recording.sweep,
        "clip_class": recording.clip_class if recording.tag else None,
        **vars(labels),
        "site": visit.clinic,
        "device": device,
        "operator": scan.exam.operator if operator_told else None,
        "visit_day": visit_day,
        "mm_per_px": mm_per_px if recording.ending == ".mp4" and recording.spacing else None,
    }
