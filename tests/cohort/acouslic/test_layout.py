"""ACOUSLIC-AI's folder, made by hand: its table, and files that are there or not."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bsou_dist.cohort.table import Cohort, read_cohort
from bsou_dist.common.errors import InputError

HEADER = "uuid,subject_id," + ",".join(f"sweep_{number}_ac_mm" for number in range(1, 7))
FIRST = "0a,000,229.5,,231.25,,,"
SECOND = "0b,000,,,,,,300"
THIRD = "0c,017,140.9,,,,350.6,"
TABLE = "circumferences/fetal_abdominal_circumferences_per_sweep.csv"


def corpus(
    parent: Path, *rows: str, files: tuple[str, ...] = ("0a", "0b", "0c"), header: str = HEADER
) -> Path:
    folder = parent / "acouslic-ai-train-set"
    table = folder / TABLE
    table.parent.mkdir(parents=True)
    table.write_text("\n".join([header, *rows]) + "\n")
    images = folder / "images/stacked_fetal_ultrasound"
    images.mkdir(parents=True)
    for name in files:
        (images / f"{name}.mha").touch()
    return folder


def read(folder: Path, column_map: str | Path = "acouslic", **options: bool) -> Cohort:
    return read_cohort(folder, column_map=column_map, **options)


def test_a_stack_is_six_clips(tmp_path: Path) -> None:
    cohort = read(corpus(tmp_path, FIRST, SECOND, THIRD), check_files=True)
    table = cohort.table
    assert len(table) == 18
    stack = table[table["study_id"] == "0a"]
    assert set(stack["path"]) == {"images/stacked_fetal_ultrasound/0a.mha"}
    assert stack["frame_range"].tolist() == [
        f"{start}:{start + 140}/840" for start in range(0, 840, 140)
    ]
    assert stack["sweep_direction"].tolist() == ["transverse"] * 3 + ["sagittal"] * 3
    assert stack["ac_mm"].astype(float).fillna(-1).tolist() == [229.5, -1, 231.25, -1, -1, -1]
    assert stack["sweep"].isna().all()
    assert stack["mm_per_px"].tolist() == [0.28] * 6
    assert (stack[["clip_class", "operator"]].nunique() == 1).all()
    assert table["patient_id"].tolist() == ["000"] * 12 + ["017"] * 6
    assert table["line"].tolist() == [2] * 6 + [3] * 6 + [4] * 6
    assert table["exam_id"].nunique() == 3
    assert "ac_mm is known for 5 of 18 sweeps" in cohort.notes


def test_the_folder_above_gives_the_same_cohort(tmp_path: Path) -> None:
    folder = corpus(tmp_path, FIRST, SECOND, THIRD)
    within, above = read(folder, check_files=True), read(tmp_path, check_files=True)
    pd.testing.assert_frame_equal(within.table, above.table)
    assert within.root == above.root == folder


def test_files_may_be_under_another_root(tmp_path: Path) -> None:
    tables = corpus(tmp_path / "tables", FIRST, files=())
    images = corpus(tmp_path / "images", FIRST, files=("0a",))
    for root in (images, images.parent):
        cohort = read_cohort(tables, column_map="acouslic", root=root, check_files=True)
        assert cohort.root == images
        assert len(cohort.table) == 6


def test_stacks_without_a_file_are_left_out_and_counted(tmp_path: Path) -> None:
    cohort = read(
        corpus(tmp_path, FIRST, SECOND, THIRD, files=("0a", "0c", "zz")), check_files=True
    )
    assert cohort.table["study_id"].unique().tolist() == ["0a", "0c"]
    assert [(step.reason, step.clips) for step in cohort.flow] == [
        ("as found", 18),
        ("file not there", 12),
    ]
    assert any("1 files in images/stacked_fetal_ultrasound" in note for note in cohort.notes)


def test_zeros_that_a_spreadsheet_took_come_back(tmp_path: Path) -> None:
    """Else subject 17 would be two patients, one in training and one in the test."""
    cohort = read(corpus(tmp_path, THIRD, "0b,17,,,,,,"))
    assert cohort.table["patient_id"].unique().tolist() == ["017"]
    assert any("1 subject_id have fewer than 3 digits" in note for note in cohort.notes)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("0a,001,,,,,,", "line 3, uuid = (not shown): one row per stack"),
        (",001,,,,,,", "line 3, uuid = empty: may not be empty"),
        ("0b,,,,,,,", "line 3, subject_id = empty: may not be empty"),
        (
            "0b,001,22.95cm,,,,,",
            "sweep_1_ac_mm = (not shown): a number from 20 to 600 mm, or empty",
        ),
        ("0b,001,,0,,,,", "sweep_2_ac_mm = '0': a number from 20 to 600 mm, or empty"),
        ("0b,001,,,,,,2290", "sweep_6_ac_mm = (not shown): a number from 20 to 600 mm"),
        ("../0b,001,,,,,,", "uuid = (not shown): the name of a file without folders"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read(corpus(tmp_path, FIRST, row))
    assert message in str(caught.value)


def test_what_is_no_such_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name the folder that the corpus was unpacked to"):
        read(tmp_path)
    with pytest.raises(InputError, match="has no column 'sweep_6_ac_mm'"):
        read(corpus(tmp_path, "0a,000,,,,,", header=HEADER.removesuffix(",sweep_6_ac_mm")))


def test_none_of_the_files_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none of the 1 stacks"):
        read(corpus(tmp_path, FIRST, files=()), check_files=True)


def test_a_map_of_ones_own_names_the_sweeps(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("base: acouslic\nstacks: {sweeps: {1: {sweep: M}, 5: {sweep: C2}}}\n")
    table = read(corpus(tmp_path, FIRST), own).table
    assert table["sweep"].fillna("").tolist() == ["M", "", "", "", "C2", ""]
    assert table["sweep_direction"].tolist() == ["transverse"] * 3 + ["sagittal"] * 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stacks: {sweeps: {1: {sweep: LOW}}}", "'LOW' is no sweep"),
        ("stacks: {sweeps: {8: {direction: sagittal, ac_mm: x}}}", "number the sweeps of a stack"),
        ("stacks: {path: images/a.mha}", "must hold {stack} once"),
        ("columns: {patient_id: pid}", "'stacks' stands for itself"),
    ],
)
def test_bad_entries_of_a_map_are_named(tmp_path: Path, text: str, message: str) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(f"base: acouslic\n{text}\n")
    with pytest.raises(InputError) as caught:
        read(corpus(tmp_path, FIRST), own)
    assert message in str(caught.value)
