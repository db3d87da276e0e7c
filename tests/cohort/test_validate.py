from __future__ import annotations

import pytest

from bsou_dist.cohort.table import read_cohort
from bsou_dist.common.errors import InputError


def message_of(path, **options) -> str:
    with pytest.raises(InputError) as raised:
        read_cohort(path, **options)
    return str(raised.value)


def test_all_bad_rows_come_in_one_message(write_cohort, clip_row):
    message = message_of(
        write_cohort(
            clip_row(ga_days="abc"),
            clip_row(path="b", study_id="2", presentation="cephlic"),
            clip_row(path="c", study_id="3", bmi=900),
            clip_row(path="d", study_id="4", sweep="C9"),
        )
    )
    assert "4 bad cells" in message
    assert "line 2, ga_days = (not shown): a number or an empty cell" in message
    assert "line 3, presentation = (not shown): cephalic, non_cephalic or empty" in message
    assert "line 4, bmi = 900: a number from 10 to 80 kg/m2, or empty" in message
    assert "line 5, sweep = (not shown): M, L, R, C1, C2, C3 or empty" in message


def test_a_long_list_is_cut_and_counted(write_cohort, clip_row):
    message = message_of(
        write_cohort(*(clip_row(path=f"{i}", study_id=f"{i}", bmi=1) for i in range(50)))
    )
    assert "50 bad cells" in message
    assert message.count("\n") == 21
    assert "and 30 more" in message


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("ga_days", 331),
        ("ga_days", 0),
        ("ga_days", 38),
        ("ga_days", "inf"),
        ("dvp_cm", 31),
        ("mm_per_px", 0.001),
        ("mm_per_px", 21),
        ("fetuses", 6),
        ("fetuses", 1.5),
        ("fetuses", 0),
        ("visit_day", -1),
    ],
)
def test_numbers_outside_their_range(write_cohort, clip_row, column, value):
    assert f"line 2, {column} = " in message_of(write_cohort(clip_row(**{column: value})))


@pytest.mark.parametrize(
    ("path", "accepted"),
    [
        ("/data/a.mp4", "relative"),
        ("C:\\data\\a.mp4", "relative"),
        ("../a.mp4", "inside the root"),
        ("x/../../a.mp4", "inside the root"),
        ("./b.mp4", "on line 2 too"),
    ],
)
def test_bad_paths(write_cohort, clip_row, path, accepted):
    message = message_of(write_cohort(clip_row(path="b.mp4"), clip_row(path=path)))
    assert "line 3, path" in message
    assert accepted in message


def test_missing_files_only_on_request(write_cohort, clip_row, tmp_path):
    (tmp_path / "here.mp4").write_bytes(b"x")
    path = write_cohort(clip_row(path="here.mp4"), clip_row(path="gone.mp4"))
    read_cohort(path)
    message = message_of(path, check_files=True)
    assert "1 bad cell" in message
    assert "line 3, path = (not shown): no such file" in message
    read_cohort(write_cohort(clip_row(path="cohort.csv")), root=tmp_path, check_files=True)


@pytest.mark.parametrize(
    ("change", "accepted"),
    [
        (
            {"patient_id": "P2"},
            "a study belongs to one patient; line 2 has another for this study_id",
        ),
        ({"study_id": "P1-2"}, "an exam has one study, device and operator"),
        ({"device": "Butterfly iQ"}, "an exam has one study, device and operator"),
        (
            {"presentation": "non_cephalic"},
            "an exam has one value; line 2 has another for this exam_id",
        ),
        ({"placenta": "posterior"}, "an exam has one value"),
        ({"ga_days": 207}, "an exam has one value; line 2 has another for this exam_id"),
    ],
)
def test_contradictions(write_cohort, clip_row, change, accepted):
    message = message_of(
        write_cohort(clip_row(exam_id="E"), clip_row(exam_id="E", path="b", **change))
    )
    assert accepted in message
    assert "1 bad cell" in message


def test_a_missing_label_contradicts_nothing(write_cohort, clip_row):
    read_cohort(write_cohort(clip_row(), clip_row(path="b", presentation="", ga_days="")))


@pytest.mark.parametrize(
    ("first", "second", "accepted"),
    [
        (
            {"split_stage1": "train"},
            {"split_stage1": "valid"},
            "one split per patient; line 2 has this one in another (split_stage1)",
        ),
        ({"split_stage2": "train"}, {"split_stage2": "test"}, "one split per patient"),
        ({"split_stage2": "train"}, {"split_obese": "test"}, "one split per patient"),
        (
            {"split_stage1": "train"},
            {"split_stage2": "test"},
            "empty, because line 3 has this patient in split_stage2 = 'test'",
        ),
        (
            {"split_stage1": "valid"},
            {"split_handheld": "valid"},
            "empty, because line 3 has this patient in split_handheld",
        ),
        ({"split_stage1": "test"}, {}, "train, valid or empty"),
        ({"split_stage2": "dev"}, {}, "train, valid, test or empty"),
    ],
)
def test_patients_in_two_splits(write_cohort, clip_row, first, second, accepted):
    splits = dict.fromkeys(["split_stage1", "split_stage2", "split_obese", "split_handheld"], "")
    # Another visit with another device: the patient is still the same.
    rows = [
        clip_row(**splits | first),
        clip_row(study_id="P1-2", device="Butterfly iQ", path="b", **splits | second),
    ]
    assert accepted in message_of(write_cohort(*rows))


def test_stage_1_training_patients_may_train_stage_2(write_cohort, clip_row):
    table = read_cohort(write_cohort(clip_row(split_stage1="train", split_stage2="train"))).table
    assert table["split_stage2"].tolist() == ["train"]
