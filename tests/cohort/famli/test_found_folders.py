"""FAMLI3 as Vivli delivers it: sessions' folders on disk, which no table names."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bsou_dist.cohort.table import Cohort, read_cohort
from bsou_dist.common.errors import InputError

STUDY = "FA3-025-1001-1"
FORM = {"pid": "FA3-025-1001", "pidscan": STUDY, "us_twin": 1, "us_lie": 1, "ega": 195}


def row(file: str, time: str = "101500", **cells: object) -> dict[str, object]:
    return {
        "pid": "FA3-025-1001",
        "pidscan": STUDY,
        "studydate": "20240110",
        "studytime": time,
        "file": file,
        "manufacturer": "Butterfly Network Inc",
        "model": "iQ3",
        "num_frames": 120,
        "pixel_spacing_x_mp4": 0.02,
        "tag": "NM",
        **cells,
    }


def deliver(
    root: Path,
    rows: list[dict[str, object]],
    files: list[str],
    forms: list[dict[str, object]] | None = None,
    reports: list[dict[str, object]] | None = None,
) -> None:
    tables = root / "Structured"
    tables.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(tables / "C3_INSTANCE_TABLE.csv", index=False)
    pd.DataFrame(forms or [FORM]).to_csv(tables / "C3_CRF.csv", index=False)
    if reports:
        pd.DataFrame(reports).to_csv(tables / "C3_SR.csv", index=False)
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def read(root: Path, **options: object) -> Cohort:
    return read_cohort(root, column_map="famli3_vivli", **options)  # type: ignore[arg-type]


def found(cohort: Cohort) -> list[str]:
    return cohort.table["path"].tolist()


def lost(cohort: Cohort) -> dict[str, int]:
    counts = {}
    for before, after in zip(cohort.flow, cohort.flow[1:], strict=False):
        if after.clips < before.clips:
            counts[after.reason] = before.clips - after.clips
    return counts


@pytest.mark.parametrize(
    ("listed", "time", "folder", "name"),
    [
        ("1.2.3.dcm", "101500", f"{STUDY}_20240110_101500", "1.2.3.dcm"),
        ("1.2.3", "101500", f"{STUDY}_20240110_101500", "1.2.3.dcm"),
        ("1.2.3.dcm", "101500", f"{STUDY}_20240110_101500", "1.2.3"),
        ("1.2.3.dcm", "101500", f"{STUDY}_20240110_121500", "1.2.3.dcm"),
        ("1.2.3.dcm", "81500.000", f"{STUDY}_20240110_101500", "1.2.3.dcm"),
        ("IM1.mp4", "231500", f"{STUDY}_20240111_011500", "IM1.mp4"),
        ("1.2.3.mp4", "101500", f"{STUDY}_20240110_101733", "1.2.3.mp4"),  # a UID tells by itself
        ("IM1.mp4", "101500", f"{STUDY}_20240110_101733", None),
        ("1.2.3.mp4", "101500", "FA3-025-1001-2_20240110_101500", None),
    ],
)
def test_a_file_is_found_by_study_and_name(tmp_path, listed, time, folder, name):
    path = f"Cohort1/part/{folder}/{name or listed}"
    other = f"Cohort2/{STUDY}_20240110_090000/9.9.9.mp4"
    deliver(tmp_path, [row(listed, time), row("9.9.9.mp4", "090000")], [path, other])
    cohort = read(tmp_path, check_files=True)
    assert found(cohort) == ([path] if name else []) + [other]
    assert lost(cohort) == ({} if name else {"file not there": 1})
    assert cohort.table["visit_day"].eq(0).all()
    assert cohort.table["ga_days"].eq(195).all()


def test_of_several_files_that_of_the_same_time_counts(tmp_path):
    names = [f"Cohort1/{STUDY}_20240110_{time}/1.2.3.mp4" for time in ("101500", "121500")]
    deliver(tmp_path, [row("1.2.3.mp4")], names)
    cohort = read(tmp_path)
    assert found(cohort) == names[:1]
    deliver(tmp_path, [row("1.2.3.mp4", "081500"), row("4.5.6.mp4")], [])
    with pytest.raises(InputError, match="file in several folders of its study: 1, file not there"):
        read(tmp_path)


def test_labels_of_the_delivered_tables(tmp_path):
    folder = f"Cohort1/{STUDY}_20240110_101500"
    rows = [row("1.2.3.mp4"), row("4.5.6.dcm", manufacturer="GE", model="V830", tag="L1")]
    rows.append(row("7.8.9", num_frames=1))
    form = {**FORM, "us_twin": 3, "visit_date_date": "10JAN2024", "us_dvp_ge": 4.5}
    report = {"pid": "FA3-025-1001", "pidscan": STUDY, "ega": 199, "multiple_gest": 1}
    files = [f"{folder}/{name}" for name in ("1.2.3.mp4", "4.5.6.dcm", "7.8.9", "10.11.mp4")]
    deliver(tmp_path, rows, files, [form], [report])
    cohort = read(tmp_path)
    table = cohort.table
    assert found(cohort) == files[:2]
    assert lost(cohort) == {"still image": 1}
    assert table["device"].tolist() == ["Butterfly iQ3", "GE V830"]
    assert table["exam_id"].tolist() == [
        f"{STUDY}_20240110_101500_Butterfly_iQ3",
        f"{STUDY}_20240110_101500_GE_V830",
    ]
    assert table["operator"].tolist() == ["novice", "expert"]
    assert table["mm_per_px"].fillna(0).tolist() == [pytest.approx(0.2), 0]
    assert table["ga_days"].tolist() == [195, 195]
    assert table["fetuses"].tolist() == [3, 3]  # the report says no more than several
    assert any(note.startswith("1 files in folders of sessions") for note in cohort.notes)


def test_an_age_of_the_wide_report_counts_as_circular(tmp_path):
    name = f"Cohort1/{STUDY}_20240110_101500/1.2.3.mp4"
    report = {"pid": "FA3-025-1001", "pidscan": STUDY, "ega": 199, "multiple_gest": 0}
    deliver(tmp_path, [row("1.2.3.mp4")], [name], [{**FORM, "ega": "", "us_twin": ""}], [report])
    assert read(tmp_path).table["ga_days"].isna().all()
    table = read(tmp_path, allow_circular_dating=True).table
    assert (table["ga_days"].tolist(), table["ga_source"].tolist()) == ([199], ["sr_ga"])
    assert table["fetuses"].tolist() == [1]
    own = tmp_path / "own.yaml"
    own.write_text(
        "base: famli3_vivli\n"
        "tables: {wide_reports: {columns_if_any: {sr_ga_days: null, ga_edd_days: ega}}}\n"
    )
    assert read_cohort(tmp_path, column_map=own).table["ga_source"].tolist() == ["edd"]


def test_a_folder_without_the_tables(tmp_path):
    with pytest.raises(InputError, match="it must be the folder that holds the tables and videos"):
        read(tmp_path)
