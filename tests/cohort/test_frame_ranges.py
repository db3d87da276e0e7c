"""Clips that are parts of a file, in a table of one's own."""

from __future__ import annotations

import pandas as pd
import pytest

from bsou_dist.cohort.frame_ranges import clip_names
from bsou_dist.cohort.table import cohort_fingerprint, column_fingerprint, read_cohort
from bsou_dist.common.errors import InputError


def test_parts_of_one_file_are_clips_of_their_own(write_cohort, clip_row):
    cohort = read_cohort(
        write_cohort(
            clip_row(frame_range="0:140"),
            clip_row(frame_range=" 140 : 280 / 840", tag_raw="L1"),
            clip_row(path="b.mp4", tag_raw="R1"),
        )
    )
    assert cohort.table["frame_range"].fillna("").tolist() == ["0:140", "140:280/840", ""]
    names = clip_names(cohort.table)
    assert names.nunique() == 3
    assert names.tolist()[2] == "b.mp4"


def test_the_number_of_frames_of_the_file_does_not_make_another_clip():
    table = pd.DataFrame({"path": ["a", "a", "a"], "frame_range": ["0:5", "0:5/9", None]})
    first, second, whole = clip_names(table)
    assert first == second
    assert whole == "a"


def test_a_table_without_ranges_keeps_its_names_and_fingerprints(write_cohort, clip_row):
    """Of cohorts that were packed, frozen or trained on before there were any."""
    table = read_cohort(write_cohort(clip_row(), clip_row(path="b.mp4", tag_raw="C2"))).table
    assert clip_names(table).tolist() == ["a.mp4", "b.mp4"]
    before = table.drop(columns="frame_range")
    assert cohort_fingerprint(table) == cohort_fingerprint(before)
    assert column_fingerprint(table, "bmi") == column_fingerprint(before, "bmi")


def test_fingerprints_tell_parts_apart_in_any_order(write_cohort, clip_row):
    rows = [clip_row(frame_range=f"{start}:{start + 5}", bmi="") for start in (0, 5, 10)]
    table = read_cohort(write_cohort(*rows)).table
    again = read_cohort(write_cohort(*rows[::-1])).table
    other = read_cohort(write_cohort(*rows[:2], clip_row(frame_range="10:16", bmi=""))).table
    assert cohort_fingerprint(table) == cohort_fingerprint(again)
    assert cohort_fingerprint(table) != cohort_fingerprint(other)


def test_every_bad_range_is_named_with_its_line(write_cohort, clip_row):
    rows = [clip_row(frame_range="5:2"), clip_row(frame_range="all", path="b.mp4", tag_raw="C1")]
    with pytest.raises(InputError) as caught:
        read_cohort(write_cohort(*rows))
    message = str(caught.value)
    assert "2 bad cells" in message
    assert "line 2, frame_range = (not shown): a range of frames such as 140:280" in message
    assert "line 3, frame_range = (not shown)" in message


def test_one_part_may_not_stand_twice(write_cohort, clip_row):
    rows = [clip_row(frame_range="0:5"), clip_row(frame_range="0:5/10")]
    with pytest.raises(InputError, match="one row per clip; it is on line 2 too"):
        read_cohort(write_cohort(*rows))


@pytest.mark.parametrize("second", ["4:9", "0:9", ""])
def test_frames_of_two_patients_may_not_overlap(write_cohort, clip_row, second):
    other = clip_row(frame_range=second, patient_id="P2", study_id="P2-1")
    with pytest.raises(InputError, match=r"frames of one patient; those on line \d overlap"):
        read_cohort(write_cohort(clip_row(frame_range="0:5"), other))


def test_two_patients_may_share_a_file_by_other_frames(write_cohort, clip_row):
    other = clip_row(frame_range="5:9", patient_id="P2", study_id="P2-1")
    assert len(read_cohort(write_cohort(clip_row(frame_range="0:5"), other)).table) == 2
