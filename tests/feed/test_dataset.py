"""Clip and exam sets: identities, labels and the slots of an exam."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bsou_dist.common.errors import InputError
from bsou_dist.feed.dataset import ClipSet, ExamSet


@pytest.fixture(scope="module")
def shards(make_shards, tmp_path_factory) -> tuple[Path, pd.DataFrame]:
    return make_shards(tmp_path_factory.mktemp("shards"), clips=28, frames=2, side=16)


def test_codes_follow_identities(shards) -> None:
    folder, manifest = shards
    clips = ClipSet(folder, manifest.drop(index=0), {})
    assert clips.sweep[:8].tolist() == [1, 2, 3, 4, 5, -1, 0, 1]
    for code, column in ((clips.study, "study"), (clips.exam, "exam"), (clips.subject, "patient")):
        same = clips.manifest[column].to_numpy()[:, None] == clips.manifest[column].to_numpy()
        assert (same == (code[:, None] == code)).all()
    assert clips.manifest.index[0] == 0


def test_a_split_without_clips_or_shards_is_refused(shards, tmp_path) -> None:
    folder, manifest = shards
    with pytest.raises(InputError, match="no clip of"):
        ClipSet(folder, manifest[:0], {})
    with pytest.raises(InputError, match="bsou verify"):
        ClipSet(tmp_path, manifest, {})
    with pytest.raises(InputError, match=r"several values of codec \(h264, jpeg\)"):
        ClipSet(folder, manifest.assign(codec=["h264"] + ["jpeg"] * 27), {})


def test_exam_slots(shards) -> None:
    folder, manifest = shards
    # exam0: two clips of M, none of L; exam1: whole; exam2: nothing canonical; exam3: whole
    manifest = manifest.copy()
    manifest.loc[1, "sweep"] = "M"
    manifest.loc[manifest["exam"] == "exam2", "sweep"] = None
    exams = ExamSet(ClipSet(folder, manifest, {}))
    assert exams.key == ["exam0", "exam1", "exam3"]
    assert exams.skipped == ["exam2"]
    index = np.array([0, 1, -1])
    assert exams.pick(index, 0, 0, training=False).tolist() == [
        [0, -1, 2, 3, 4, 5],
        [7, 8, 9, 10, 11, 12],
        [-1] * 6,
    ]
    drawn = [exams.pick(index, 0, epoch, training=True) for epoch in range(30)]
    assert {int(pick[0, 0]) for pick in drawn} == {0, 1}
    assert all((pick[1:] == exams.pick(index, 0, 0, False)[1:]).all() for pick in drawn)
    assert (exams.pick(index[:1], 0, 7, True) == drawn[7][:1]).all()


def test_exam_labels(shards) -> None:
    folder, manifest = shards
    presentation = np.repeat([1, 0, -1, 1], 7)
    presentation[:3] = -1
    ga = np.repeat(np.array([200, 180, np.nan, 250], dtype=np.float32), 7)
    exams = ExamSet(ClipSet(folder, manifest, {"presentation": presentation, "ga": ga}))
    assert exams.labels["presentation"].tolist() == [1, 0, -1, 1]
    np.testing.assert_array_equal(
        exams.labels["ga"], np.array([200, 180, np.nan, 250], dtype=np.float32)
    )
    presentation[0] = 0
    with pytest.raises(
        InputError, match="exam0 has clips with different labels for task 'presentation'"
    ):
        ExamSet(ClipSet(folder, manifest, {"presentation": presentation}))


def test_an_exam_set_needs_a_canonical_sweep(shards) -> None:
    folder, manifest = shards
    with pytest.raises(InputError, match="M, L, R, C1, C2, C3"):
        ExamSet(ClipSet(folder, manifest.assign(sweep=None), {}))
