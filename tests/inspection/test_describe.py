from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from p1_tasks import TASKS

from bsou_dist.common.errors import InputError
from bsou_dist.inspection.describe import describe
from bsou_dist.packing.pack import KEY_NAME
from bsou_dist.shards.pseudonyms import Pseudonymizer, load_key

Packed = tuple[Path, Path]


def test_counts_of_the_folder(packed: Packed) -> None:
    lines = describe(packed[0]).splitlines()
    assert lines[0] == "10 clips of 2 patients, 4 studies, 4 exams, in 3 shards"
    assert lines[1].startswith("60 frames of 48 px")
    assert [line.split() for line in lines[lines.index("by sweep:") + 1 :][:3]] == [
        ["M", "4"],
        ["L", "3"],
        ["missing", "3"],
    ]
    assert ["Acme", "One", "5"] in [line.split() for line in lines]
    assert not any("label" in line for line in lines)


def test_counts_by_label_need_the_cohort_and_the_key(
    cohort: tuple[pd.DataFrame, Path], packed: Packed
) -> None:
    pseudonymizer = Pseudonymizer(load_key(packed[1] / KEY_NAME))
    table = cohort[0].drop(index=9)  # a clip that the table no longer has
    lines = describe(packed[0], table, pseudonymizer, TASKS).splitlines()
    assert "labels of 9 clips found in the cohort table" in lines
    start = lines.index("by label presentation:")
    assert [line.split() for line in lines[start + 1 : start + 4]] == [
        ["cephalic", "6"],
        ["non_cephalic", "3"],
        ["missing", "1"],
    ]
    assert "label ga: 9 known, mean 144.0, 140.0 to 148.0 days" in lines


def test_another_cohort_or_key_is_refused(
    cohort: tuple[pd.DataFrame, Path], packed: Packed
) -> None:
    theirs = Pseudonymizer(load_key(packed[1] / KEY_NAME))
    other = cohort[0].assign(path="other/" + cohort[0]["path"])
    name_the_cohort = r"is in the cohort, .*; name the cohort that they were packed from"
    with pytest.raises(InputError, match=name_the_cohort):
        describe(packed[0], other, theirs)
    name_the_key = r"is in the cohort, .*; name theirs with --pseudonym-key"
    with pytest.raises(InputError, match=name_the_key):
        describe(packed[0], cohort[0], Pseudonymizer(bytes(32)))
