"""Tables of instances: a row per file, the spacing of MP4s, and corrections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
_DATED = {"famli2_enrolled": "20250417", "famli2": "20250417", "famli3": "20250707"}


@dataclass(frozen=True)
class InstanceTable:
    """Name and columns (ours to theirs) of a layout's instance table and of its MP4 table."""

    name: str
    columns: Mapping[str, str]
    mp4_name: str
    mp4_columns: Mapping[str, str]


_COMMON = {
    name: name
    for name in (
        "filename",
        "manufacturer",
        "manufacturermodelname",
        "studydate",
        "studytime",
        "sopclassuid",
        "deviceserialnumber",
        "numberofframes",
        "tag",
    )
}
_TABLES = {
    "famli2_enrolled": InstanceTable(
        "FAMLI2_instance_table_20180907_20220531_tags.csv",
        {
            "pid": "pid",
            "pidscan": "pidscan",
            "pid_date_time": "pid_date_time",
            "pid_date": "pid_date",
            "synapsepath": "synapsepath",
            "study_uid": "study_uid",
            "bytes": "bytes",
            **_COMMON,
        },
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
            **_COMMON,
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
}


@dataclass(frozen=True)
class Excluded:
    """A row that must not come back, and why; a second row of a clip that comes back from its first
    is one too.
    """

    table: str
    line: int
    path: str
    reason: str


def write_instances(
    layout: FamliLayout, written: Sequence[Written], mm_per_px: float, root: Path
) -> list[Excluded]:
    """The layout's instance tables with the corrections that go by file; returns the rows to leave
    out.
    """
    if layout == "nejm_v4":
        return _write_nejm(written, root)
    table, folder = _TABLES[layout], tabular_folder(layout)
    rows = [_row(recording, file) for recording, file in written]
    found = [recording.exclusion for recording, _ in written]
    paths = [recording.path for recording, _ in written]
    odd = next(n for n, (recording, _) in enumerate(written) if recording.visit.role is Role.FILES)
    rows += [rows[odd], {**rows[odd], "filename": "", "uid": ""}]
    found += ["row given twice", "no file name"]
    paths += [paths[odd], ""]
    write_csv(root / folder / table.name, rows, table.columns)

    spacings = [
        _spacing_row(recording, mm_per_px) for recording, _ in written if recording.ending == ".mp4"
    ]
    write_csv(root / folder / table.mp4_name, [*spacings, spacings[0]], table.mp4_columns)
    _write_corrections(layout, [recording for recording, _ in written], root)
    return [
        Excluded(f"{folder}/{table.name}", line, path, reason)
        for line, (path, reason) in enumerate(zip(paths, found, strict=True), 2)
        if reason
    ]


def _row(recording: Recording, file: WrittenFile) -> dict[str, object]:
    visit, scan = recording.visit, recording.scan
    return {
        "pid": visit.pid,
        "pidscan": visit.study_id,
        "pid_date_time": visit.folder(scan),
        "pid_date": visit.folder(scan).rpartition("_")[0],
        "synapsepath": str(Path(recording.path).parent),
        "filename": recording.filename,
        "uid": recording.uid,
        "manufacturer": scan.device.raw_maker,
        "manufacturermodelname": scan.device.raw_model,
        "studydate": f"{visit.day:%Y%m%d}",
        "studytime": scan.time,
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
    """Blank for an MP4, which is kept, and for famli3's stills, where blank means one."""
    if recording.ending == ".mp4" or (recording.frames == 1 and recording.visit.layout == "famli3"):
        return None
    return f"{recording.frames}.0" if recording.visit.layout == "famli2" else str(recording.frames)


def _sop_class(recording: Recording) -> str:
    if recording.ending == ".png":
        return SecondaryCaptureImageStorage
    return UltrasoundImageStorage if recording.frames == 1 else UltrasoundMultiFrameImageStorage


def _spacing_row(recording: Recording, mm_per_px: float) -> dict[str, object]:
    return {
        "pidscan": recording.visit.study_id,
        "filename": recording.filename,
        **dict.fromkeys(_SPACING, mm_per_px / 10 if recording.spacing else None),
    }


def _write_corrections(layout: FamliLayout, found: Sequence[Recording], root: Path) -> None:
    project, dated = PROJECTS[layout], _DATED[layout]
    tags = [
        {"filename": recording.filename, "tag_final": recording.corrected_tag}
        for recording in found
        if recording.corrected_tag is not None
    ]
    write_csv(
        root / _CORRECTIONS / f"{project}_tag_corrections_{dated}.csv",
        tags,
        ["filename", "tag_final"],
    )
    twins = {recording.visit.pid: final_twin(recording.visit) for recording in found}
    rows: list[dict[str, object]] = [
        {"PID": pid, "us_twin": final, "NOF": final, "FINAL_TWIN": final}
        for pid, final in twins.items()
        if final is not None
    ]
    write_csv(
        root / _CORRECTIONS / f"{project}_Twins_20250417.csv",
        rows,
        ["PID", "us_twin", "NOF", "FINAL_TWIN"],
    )
    multiples = {
        (recording.visit.pid, recording.visit.folder(recording.scan)): recording.visit.index
        for recording in found
        if (final_twin(recording.visit) or 0) > 1
    }
    splits = ("Test", "Fold0", "Fold1", "Fold2", "Fold3", "Fold4")
    rows = [
        {"PID": pid, "exam_dir": folder, "Split": splits[index % len(splits)]}
        for (pid, folder), index in multiples.items()
    ]
    write_csv(
        root / _CORRECTIONS / "FAMLI_twin_stats_splits.csv", rows, ["PID", "exam_dir", "Split"]
    )


def _write_nejm(written: Sequence[Written], root: Path) -> list[Excluded]:
    project, name = PROJECTS["nejm_v4"], "GA_NEJME_ultrasound_instances.csv"
    rows = [
        {
            "study_id": recording.visit.study_id,
            "pid": recording.visit.pid,
            "study_id_with_acquisition_source": recording.visit.folder(recording.scan),
            "file_path": "/".join(
                (set_folder(recording.visit), recording.visit.study_id, recording.filename)
            ),
            "tag": recording.table_tag,
        }
        for recording, _ in written
    ]
    write_csv(root / project / name, rows, list(rows[0]))
    visits = {recording.visit.study_id: recording.visit for recording, _ in written}
    exams = [_nejm_study(visit) for visit in visits.values()]
    write_csv(
        root / project / "GAEstimationAnalysisStudies_NEJMEvidence.csv", exams, list(exams[0])
    )
    return [
        Excluded(f"{project}/{name}", line, recording.path, recording.exclusion)
        for line, (recording, _) in enumerate(written, 2)
        if recording.exclusion
    ]


def _nejm_study(visit: Visit) -> dict[str, object]:
    """A test set has all studies of its patients preliminarily, and one of each in the end."""
    test = None
    if set_type(visit) == "Test Sets":
        novice = any(scan.kind == "novice" for scan in visit.scans)
        test = "novice_test" if novice else "ivf_test" if visit.index % 9 == 2 else "main_test"
    tests = ("main_test", "ivf_test", "novice_test")
    return {
        "study_id": visit.study_id,
        "pid": visit.pid,
        "ga_boe": visit.first.labels.ga_days,
        "ga_anchor": int(visit.number == 1),
        "set_type": set_type(visit),
        **{f"preliminary_{name}": int(name == test) for name in tests},
        **{name: int(name == test and visit.number == 1) for name in tests},
    }
