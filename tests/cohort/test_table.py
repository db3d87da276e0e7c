from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bsou_dist.cohort.columns import COLUMNS
from bsou_dist.cohort.table import cohort_fingerprint, read_cohort
from bsou_dist.common.errors import InputError


def test_clean_table_has_contract_columns_with_clean_types(write_cohort, clip_row):
    cohort = read_cohort(write_cohort(clip_row(), clip_row(path="b/c.mp4", tag_raw="C2", bmi="")))
    table = cohort.table
    assert list(table.columns) == [*COLUMNS, "line"]
    for column in COLUMNS.values():
        assert table[column.name].dtype == ("float64" if column.kind == "number" else "str"), (
            column.name
        )
    assert table["line"].tolist() == [2, 3]
    assert table["sweep"].tolist() == ["M", "C2"]
    assert np.isnan(table["bmi"][1])
    assert table["exam_id"].nunique() == 1
    assert cohort.notes == ()


def test_numbers_survive_as_the_nearest_double(write_cohort, clip_row):
    values = [0.1 + 0.2, 1 / 3, 4.35]
    cohort = read_cohort(
        write_cohort(
            *(clip_row(path=f"{v}.mp4", study_id=f"P1-{v}", dvp_cm=repr(v)) for v in values)
        )
    )
    assert cohort.table["dvp_cm"].tolist() == values


@pytest.mark.parametrize(
    "sentinel", ["", "-88", "-99", "-9999", "-88.0", "none", "None", "Unknown", " unknown "]
)
def test_sentinels_are_missing_in_text_and_numbers(write_cohort, clip_row, sentinel):
    row = clip_row(
        ga_days=sentinel,
        presentation=sentinel,
        placenta=sentinel,
        device=sentinel,
        tag_raw=sentinel,
    )
    table = read_cohort(write_cohort(row)).table
    columns = ["ga_days", "presentation", "placenta", "device", "tag_raw", "sweep", "clip_class"]
    assert table[columns].isna().all(axis=None)


def test_a_missing_identity_is_no_identity(write_cohort, clip_row):
    with pytest.raises(InputError, match=r"line 2, patient_id = empty: may not be empty"):
        read_cohort(write_cohort(clip_row(patient_id="-99")))


def test_parquet_reads_as_csv_does(write_cohort, clip_row, tmp_path):
    rows = [clip_row(fetuses=1), clip_row(path="b.mp4", fetuses=None, bmi=31.25)]
    pd.DataFrame(rows).to_parquet(tmp_path / "cohort.parquet")
    from_csv = read_cohort(write_cohort(*rows)).table
    from_parquet = read_cohort(tmp_path / "cohort.parquet").table
    pd.testing.assert_frame_equal(from_parquet.drop(columns="line"), from_csv.drop(columns="line"))
    assert from_parquet["line"].tolist() == [1, 2]


def test_lines_are_lines_of_the_file(tmp_path):
    path = tmp_path / "cohort.csv"
    path.write_text(
        'patient_id,study_id,site,path\nP1,S1,"two\nlines",a.mp4\n\nP1,S1,x,b.mp4\n,S1,x,c.mp4\n'
    )
    with pytest.raises(InputError, match="line 6, patient_id") as raised:
        read_cohort(path)
    assert "1 bad cell" in str(raised.value)


def test_other_placentas_become_missing_with_a_count(write_cohort, clip_row):
    rows = [
        clip_row(),
        *(clip_row(path=f"{i}.mp4", study_id=f"P1-{i}", placenta="fundal") for i in (2, 3)),
    ]
    cohort = read_cohort(write_cohort(*rows))
    assert cohort.table["placenta"].isna().tolist() == [False, True, True]
    assert cohort.notes == (
        "placenta is neither anterior nor posterior in 2 clips (1 other value), taken as missing",
    )


def test_multiples_mask_what_is_not_defined_for_them(write_cohort, clip_row):
    cohort = read_cohort(write_cohort(clip_row(fetuses=2)))
    assert cohort.table[["presentation", "placenta", "dvp_cm"]].isna().all(axis=None)
    assert cohort.table["ga_days"].tolist() == [200.0]
    assert "multiple pregnancies" in cohort.notes[0]


def test_circular_dating_is_off_by_default(write_cohort, clip_row):
    path = write_cohort(
        clip_row(ga_source="Biometry"), clip_row(path="b", study_id="P1-2", ga_source="anchor")
    )
    cohort = read_cohort(path)
    assert cohort.table["ga_days"].isna().tolist() == [True, False]
    assert "1 clip" in cohort.notes[0]
    assert read_cohort(path, allow_circular_dating=True).table["ga_days"].notna().all()


def test_exam_ids_are_made_from_study_device_and_operator(write_cohort, clip_row):
    rows = [
        clip_row(),
        clip_row(path="b", device="Butterfly iQ"),
        clip_row(path="c", device="Butterfly iQ", tag_raw="NM", operator=""),
        clip_row(path="d", exam_id="mine"),
    ]
    table = read_cohort(write_cohort(*rows)).table
    assert table["exam_id"].tolist() == [
        "P1-1/GE V830/expert",
        "P1-1/Butterfly iQ/expert",
        "P1-1/Butterfly iQ/novice",
        "mine",
    ]


def test_a_sweep_of_the_table_wins_over_the_tag(write_cohort, clip_row):
    table = read_cohort(
        write_cohort(
            clip_row(sweep="R", tag_raw="L1"),
            clip_row(sweep="", tag_raw="L1", path="b"),
            clip_row(sweep="", clip_class="diagnostic", tag_raw="L1", path="c"),
        )
    ).table
    assert table["sweep"].fillna("-").tolist() == ["R", "L", "-"]
    assert table["clip_class"].tolist() == ["blind", "blind", "diagnostic"]


def test_unused_columns_are_named_with_what_they_may_have_been(write_cohort, clip_row):
    row = clip_row()
    row["placneta"] = row.pop("placenta")
    assert "'placneta' (did you mean 'placenta'?)" in read_cohort(write_cohort(row)).notes[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"patient_id,study_id,path\n", "has no rows"),
        (b"patient_id,study_id,path\nP1,S1,a,b\n", "not a comma-separated table"),
        (b"patient_id;study_id;path\nP1;S1;a,5\n", "is separated by ';'; save it with commas"),
        (b"patient_id,study_id,path\nP1,S1,\xff\xfe\n", "not in UTF-8 .* save it as 'CSV UTF-8'"),
        (b"patient_id,study_id,path,path\nP1,S1,a,b\n", "same name: 'path'"),
        (
            b"patient_id,studyid,path\nP1,S1,a\n",
            r"required column 'study_id' \(nearest is 'studyid'\)",
        ),
    ],
)
def test_unreadable_tables_say_why(tmp_path, content, message):
    path = tmp_path / "cohort.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_cohort(path)


def test_no_such_table_and_no_table_by_name(tmp_path):
    with pytest.raises(InputError, match="no cohort table at"):
        read_cohort(tmp_path / "none.csv")
    (tmp_path / "cohort.txt").write_text("x")
    with pytest.raises(InputError, match=r"must end in \.csv or \.parquet"):
        read_cohort(tmp_path / "cohort.txt")
    (tmp_path / "cohort.parquet").write_text("x")
    with pytest.raises(InputError, match="not a Parquet file"):
        read_cohort(tmp_path / "cohort.parquet")


def test_fingerprint_sees_cells_and_not_the_order_of_rows(write_cohort, clip_row):
    table = read_cohort(
        write_cohort(*(clip_row(path=f"{i}", study_id=f"P1-{i}") for i in range(5)))
    ).table
    fingerprint = cohort_fingerprint(table)
    assert cohort_fingerprint(table.sample(frac=1, random_state=1)) == fingerprint
    changed = table.assign(ga_days=table["ga_days"].where(table.index != 3, 201.0))
    assert cohort_fingerprint(changed) != fingerprint
    assert len(fingerprint) == 64


def test_backslashes_of_a_windows_table_part_folders(write_cohort, clip_row):
    cohort = read_cohort(
        write_cohort(clip_row(path="visit 1\\a.mp4"), clip_row(path=".\\b\\..\\c.mp4"))
    )
    assert list(cohort.table["path"]) == ["visit 1/a.mp4", "c.mp4"]
    for path in ("\\\\server\\share\\a.mp4", "C:\\a.mp4", "..\\a.mp4"):
        with pytest.raises(InputError, match="path"):
            read_cohort(write_cohort(clip_row(path=path)))


def test_a_folder_of_images_is_a_clip(write_cohort, clip_row):
    path = write_cohort(clip_row(path="sweep"), clip_row(path="gone", study_id="P1-2"))
    (path.parent / "sweep").mkdir()
    with pytest.raises(InputError, match=r"line 3, path = \(not shown\): no such file") as raised:
        read_cohort(path, check_files=True)
    assert "sweep" not in str(raised.value)
