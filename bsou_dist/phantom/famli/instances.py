"""Tables of instances: a row per file, the spacing of MP4s, and corrections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.uid import (
    SecondaryCaptureImageStorage,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
)

from bsou_dist.phantom.famli.expected_labels import final_twin
from bsou_dist.phantom.famli.files import WrittenFile
from bsou_dist.phantom.famli.recordings import PROJECTS, Recording, set_folder, set_type
from bsou_dist.phantom.famli.tables import tabular_folder, write_csv
from bsou_dist.phantom.famli.visits import FamliLayout, Role, Visit

Written = tuple[Recording, WrittenFile]

_REGION = "SequenceOfUltrasoundRegions_PhysicalDelta"
_SPACING = {f"{_REGION}{axis}": f"{_REGION}{axis}" for axis in "XY"}
_CORRECTIONS = "FAMLI_corrections_GHL"
_DATED = {
    "famli2_enrolled": "20250417",
    "famli2": "20250417",
    "famli3": "20250707",
    "famli3_vivli": "20250707",
}


@dataclass(frozen=True)
class InstanceTable:
    """Name and columns (ours to theirs) of a layout's instance table, and of its MP4 table."""

    name: str
    columns: Mapping[str, str]
    mp4_name: str = ""
    mp4_columns: Mapping[str, str] = field(default_factory=dict)


_HEADER = ("manufacturer", "manufacturermodelname", "studydate", "studytime", "sopclassuid")
_COMMON = ("filename", *_HEADER, "deviceserialnumber", "numberofframes", "tag")
_VISIT = ("pid", "pidscan", "pid_date_time", "pid_date")
_ENROLLED_ONLY = (*_VISIT, "synapsepath", "study_uid", "bytes")

_TABLES = {
    "famli2_enrolled": InstanceTable(
        "FAMLI2_instance_table_20180907_20220531_tags.csv",
        {name: name for name in (*_ENROLLED_ONLY, *_COMMON)},
        "FAMLI2_20180907_20220531_mp4_IT.csv",
        {"pidscan": "PIDscan", "filename": "filename", **_SPACING},
    ),
    "famli2": InstanceTable(
        "famli2_it_all_tags.csv",
        {
            "pid": "pid",
            "pidscan": "pidscan",
            "pid_date_time": "pid_date_time",
            "study_uid": "studyinstanceuid",
            "rows": "rows",
            "columns": "columns",
            "spacing_x": "PixelSpacingX",
            "spacing_y": "PixelSpacingY",
            **{name: name for name in _COMMON},
        },
        "FAMLI2_mp4_IT.csv",
        {"pidscan": "PIDscan", "filename": "SOPInstanceUID", **_SPACING},
    ),
    "famli3": InstanceTable(
        "famli3_it.csv",
        {
            "pid": "PID",
            "pidscan": "PIDscan",
            "pid_date_time": "PID_date_time",
            "filename": "file",
            "uid": "SOPInstanceUID",
            "manufacturer": "Manufacturer",
            "manufacturermodelname": "ManufacturerModelName",
            "studydate": "StudyDate",
            "studytime": "StudyTime",
            "study_uid": "StudyInstanceUID",
            "sopclassuid": "SOPClassUID",
            "deviceserialnumber": "DeviceSerialNumber",
            "numberofframes": "NumberOfFrames",
            "rows": "Rows",
            "columns": "Columns",
            "spacing_x": "PixelSpacingX",
            "spacing_y": "PixelSpacingY",
            "tag": "tag",
        },
        "FAMLI3_mp4_IT.csv",
        {"filename": "file", **_SPACING},
    ),
    "famli3_vivli": InstanceTable(
        "C3_INSTANCE_TABLE.csv",
        {
            "pid": "pid",
            "pidscan": "pidscan",
            "studydate": "studydate",
            "bare_time": "studytime",
            "filename": "file",
            "manufacturer": "manufacturer",
            "manufacturermodelname": "model",
            "uid": "sopinstanceuid",
            "sopclassuid": "sopclassuid",
            "numberofframes": "num_frames",
            "rows": "rows_dcm",
            "columns": "columns_dcm",
            "mp4_cm_per_px": "pixel_spacing_x_mp4",
            "tag": "tag",
        },
    ),
}


@dataclass(frozen=True)
class Excluded:
    """A row that must not come back, and why.

    A second row of a clip that comes back from its first is one too.
    """

    table: str
    line: int
    path: str
    reason: str


def write_instances(
    layout: FamliLayout, written: Sequence[Written], mm_per_px: float, root: Path
) -> list[Excluded]:
    """Write the layout's instance tables, with the corrections that go by file.

    Returns:
        The rows to leave out.
    """
    if layout == "nejm_v4":
        return _write_nejm(written, root)
    table = _TABLES[layout]
    folder = tabular_folder(layout)
    rows = [_row(recording, file, mm_per_px) for recording, file in written]
    reasons = [recording.exclusion for recording, _ in written]
    paths = [recording.path for recording, _ in written]
    roles = [recording.visit.role for recording, _ in written]
    odd = roles.index(Role.FILES)
    nameless = {**rows[odd], "filename": "", "uid": ""}
    rows += [rows[odd], nameless]
    reasons += ["row given twice", "no file name"]
    paths += [paths[odd], ""]
    write_csv(root / folder / table.name, rows, table.columns)

    found = [recording for recording, _ in written]
    if table.mp4_name:
        spacings = [
            _spacing_row(recording, mm_per_px) for recording in found if recording.ending == ".mp4"
        ]
        spacings.append(spacings[0])
        write_csv(root / folder / table.mp4_name, spacings, table.mp4_columns)
    _write_tag_corrections(layout, found, root)
    _write_twins(layout, found, root)
    return _excluded(f"{folder}/{table.name}", paths, reasons)


def _excluded(table: str, paths: Sequence[str], reasons: Sequence[str | None]) -> list[Excluded]:
    """The rows with a reason, by their lines: the first row of a table is its second line."""
    return [
        Excluded(table, line, path, reason)
        for line, (path, reason) in enumerate(zip(paths, reasons, strict=True), 2)
        if reason
    ]


def _row(recording: Recording, file: WrittenFile, mm_per_px: float) -> dict[str, object]:
    visit, scan = recording.visit, recording.scan
    has_spacing = recording.ending == ".mp4" and recording.spacing
    return {
        "pid": visit.pid,
        "pidscan": visit.study_id,
        "pid_date_time": visit.folder(scan),
        "pid_date": visit.folder(scan).rpartition("_")[0],
        "synapsepath": str(Path(recording.path).parent),
        "filename": recording.listed_name,
        "uid": recording.uid,
        "manufacturer": scan.device.raw_maker,
        "manufacturermodelname": scan.device.raw_model,
        "studydate": f"{visit.day:%Y%m%d}",
        "studytime": scan.time,
        "bare_time": str(int(scan.time)),  # a leading zero is lost, as in a column of numbers
        "mp4_cm_per_px": mm_per_px / 10 if has_spacing else None,
        "study_uid": recording.acquisition.study_uid(),
        "sopclassuid": _sop_class(recording),
        "deviceserialnumber": f"SN{visit.index % 7:03d}",
        "numberofframes": _frame_count(recording),
        "rows": file.rows or None,
        "columns": file.columns or None,
        "bytes": file.bytes or None,
        "tag": recording.table_tag,
    }


def _frame_count(recording: Recording) -> str | None:
    """Number of frames; blank for an MP4, and for famli3's stills, where blank means one."""
    layout = recording.visit.layout
    blank_still = recording.frames == 1 and layout == "famli3"
    if recording.ending == ".mp4" or blank_still:
        return None
    return f"{recording.frames}.0" if layout == "famli2" else str(recording.frames)


def _sop_class(recording: Recording) -> str:
    if recording.ending == ".png":
        return SecondaryCaptureImageStorage
    return UltrasoundImageStorage if recording.frames == 1 else UltrasoundMultiFrameImageStorage


def _spacing_row(recording: Recording, mm_per_px: float) -> dict[str, object]:
    cm_per_px = mm_per_px / 10 if recording.spacing else None
    return {
        "pidscan": recording.visit.study_id,
        "filename": recording.filename,
        **dict.fromkeys(_SPACING, cm_per_px),
    }


def _write_tag_corrections(layout: FamliLayout, found: Sequence[Recording], root: Path) -> None:
    rows = [
        {"filename": recording.filename, "tag_final": recording.corrected_tag}
        for recording in found
        if recording.corrected_tag is not None
    ]
    name = f"{PROJECTS[layout]}_tag_corrections_{_DATED[layout]}.csv"
    write_csv(root / _CORRECTIONS / name, rows, ["filename", "tag_final"])


def _write_twins(layout: FamliLayout, found: Sequence[Recording], root: Path) -> None:
    """Write the file of twins, and the splits of those with more than one fetus."""
    fetuses_of: dict[str, int] = {}
    index_of_exam: dict[tuple[str, str], int] = {}
    for recording in found:
        visit = recording.visit
        fetuses = final_twin(visit)
        if fetuses is None:
            continue
        fetuses_of[visit.pid] = fetuses
        if fetuses > 1:
            index_of_exam[visit.pid, visit.folder(recording.scan)] = visit.index

    twins = [
        {"PID": pid, "us_twin": fetuses, "NOF": fetuses, "FINAL_TWIN": fetuses}
        for pid, fetuses in fetuses_of.items()
    ]
    name = f"{PROJECTS[layout]}_Twins_20250417.csv"
    write_csv(root / _CORRECTIONS / name, twins, ["PID", "us_twin", "NOF", "FINAL_TWIN"])

    names = ("Test", "Fold0", "Fold1", "Fold2", "Fold3", "Fold4")
    splits = [
        {"PID": pid, "exam_dir": folder, "Split": names[index % len(names)]}
        for (pid, folder), index in index_of_exam.items()
    ]
    columns = ["PID", "exam_dir", "Split"]
    write_csv(root / _CORRECTIONS / "FAMLI_twin_stats_splits.csv", splits, columns)


def _write_nejm(written: Sequence[Written], root: Path) -> list[Excluded]:
    project = PROJECTS["nejm_v4"]
    name = "GA_NEJME_ultrasound_instances.csv"
    found = [recording for recording, _ in written]
    rows = [_nejm_row(recording) for recording in found]
    write_csv(root / project / name, rows, list(rows[0]))

    visits = {recording.visit.study_id: recording.visit for recording in found}
    studies = [_nejm_study(visit) for visit in visits.values()]
    studies_path = root / project / "GAEstimationAnalysisStudies_NEJMEvidence.csv"
    write_csv(studies_path, studies, list(studies[0]))
    paths = [recording.path for recording in found]
    return _excluded(f"{project}/{name}", paths, [recording.exclusion for recording in found])


def _nejm_row(recording: Recording) -> dict[str, object]:
    visit = recording.visit
    return {
        "study_id": visit.study_id,
        "pid": visit.pid,
        "study_id_with_acquisition_source": visit.folder(recording.scan),
        "file_path": f"{set_folder(visit)}/{visit.study_id}/{recording.filename}",
        "tag": recording.table_tag,
    }


def _nejm_study(visit: Visit) -> dict[str, object]:
    """A study's row: test sets have all of a patient's preliminarily, and one in the end."""
    tests = ("main_test", "ivf_test", "novice_test")
    test = None
    if set_type(visit) == "Test Sets":
        by_novice = any(scan.kind == "novice" for scan in visit.scans)
        other = "ivf_test" if visit.index % 9 == 2 else "main_test"
        test = "novice_test" if by_novice else other
    is_first = visit.number == 1
    return {
        "study_id": visit.study_id,
        "pid": visit.pid,
        "ga_boe": visit.first.labels.ga_days,
        "ga_anchor": int(is_first),
        "set_type": set_type(visit),
        **{f"preliminary_{name}": int(name == test) for name in tests},
        **{name: int(name == test and is_first) for name in tests},
    }
