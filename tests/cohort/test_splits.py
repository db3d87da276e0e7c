from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from bsou_dist.cohort.columns import SPLIT_COLUMNS
from bsou_dist.cohort.splits import (
    Shares,
    SplitConfig,
    Stage1Shares,
    apply_splits,
    split_patients,
    split_sizes,
)
from bsou_dist.cohort.validate import find_split_leaks
from bsou_dist.common.errors import InputError

SMALL = SplitConfig(stage1=Stage1Shares(train=4, valid=2), stage2=Shares(train=2, valid=1, test=1))


def cohort_table(patients: int, seed: int = 0) -> pd.DataFrame:
    """Two visits of two clips each; every 5th patient is obese at the second visit, every 7th has a
    novice's exam.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for patient in range(patients):
        presentation = rng.choice(["cephalic", "non_cephalic"], p=[0.8, 0.2])
        placenta = rng.choice(["anterior", "posterior"])
        for visit in (0, 1):
            novice = patient % 7 == 0 and visit == 1
            exam = {
                "patient_id": f"P{patient}",
                "study_id": f"P{patient}-{visit}",
                "exam_id": f"P{patient}-{visit}-x",
                "presentation": presentation,
                "placenta": placenta,
                "fetuses": 1.0,
                "bmi": 35.0 if patient % 5 == 0 and visit == 1 else 24.0,
                "visit_day": visit * 28.0,
                "operator": "novice" if novice else "expert",
                "device": "Butterfly iQ" if novice else "GE V830",
            }
            rows += [exam | {"path": f"{patient}/{visit}/{clip}"} for clip in (0, 1)]
    return pd.DataFrame(rows).assign(line=range(2, 2 + len(rows)))


@pytest.fixture(scope="module")
def split() -> pd.DataFrame:
    return split_patients(cohort_table(140), SMALL)


def patients_in(table: pd.DataFrame, column: str, split: str | None = None) -> set[str]:
    rows = table[column].notna() if split is None else table[column].eq(split)
    return set(table.loc[rows, "patient_id"])


def test_pools_are_disjoint_and_every_patient_is_in_one(split):
    pools = [patients_in(split, column) for column in SPLIT_COLUMNS]
    assert sum(map(len, pools)) == len(set.union(*pools)) == 140
    assert find_split_leaks(split) == []
    handheld = {f"P{i}" for i in range(0, 140, 7)}
    obese = {f"P{i}" for i in range(0, 140, 5)} - handheld
    assert patients_in(split, "split_handheld") == handheld
    assert patients_in(split, "split_obese") == obese


def test_a_patient_keeps_one_split_over_visits_and_devices(split):
    main = split[
        split["split_handheld"].isna()
        & ~split["patient_id"].isin(patients_in(split, "split_handheld"))
    ]
    for column in SPLIT_COLUMNS:
        assert (main.groupby("patient_id")[column].nunique(dropna=False) == 1).all()


def test_only_the_novices_handheld_exams_carry_the_handheld_split(split):
    rows = split[split["patient_id"].isin(patients_in(split, "split_handheld"))]
    assert rows.loc[rows["operator"] == "novice", "split_handheld"].notna().all()
    assert rows.loc[rows["operator"] == "expert", list(SPLIT_COLUMNS)].isna().all(axis=None)


def test_sizes_follow_the_shares(split):
    sizes = split_sizes(split).set_index(["set", "split"])["patients"]
    main = 140 - 20 - 24
    assert sizes["stage1"].sum() + sizes["stage2"].sum() == main
    np.testing.assert_allclose(
        sizes[["stage1", "stage2"]], np.array([4, 2, 2, 1, 1]) / 10 * main, atol=1
    )
    assert ("stage1", "test") not in sizes.index
    assert sizes["obese"].tolist() == [12, 5, 7]  # 24 patients by 40 : 19 : 23, largest remainder


def test_default_shares_give_the_papers_counts():
    sizes = split_sizes(
        split_patients(cohort_table(3167).assign(operator="expert", bmi=24.0), SplitConfig())
    )
    assert sizes["patients"].tolist() == [2000, 400, 463, 152, 152]


def test_same_patients_same_split_in_any_order_and_another_seed_another(split):
    table = cohort_table(140)
    shuffled = split_patients(table.sample(frac=1, random_state=3), SMALL).sort_index()
    pd.testing.assert_frame_equal(shuffled, split)
    other = split_patients(table, SMALL.model_copy(update={"seed": 1}))
    assert patients_in(other, "split_stage2", "test") != patients_in(split, "split_stage2", "test")


@pytest.mark.parametrize("seed", range(5))
def test_small_cohorts_have_both_classes_in_every_split(seed):
    table = cohort_table(80, seed).assign(operator="expert", bmi=24.0)
    split = split_patients(table, SMALL.model_copy(update={"seed": seed}))
    for column in ("split_stage1", "split_stage2"):
        for _, part in split.groupby(column):
            assert part["presentation"].nunique() == 2
            assert part["placenta"].nunique() == 2


def test_too_few_patients_for_the_main_splits():
    table = cohort_table(10).query("patient_id in ['P1', 'P2', 'P3', 'P5']")
    with pytest.raises(InputError, match=r"3 patients are neither obese .* can't fill 5 splits"):
        split_patients(table, SMALL)


def test_five_patients_fill_five_splits_and_the_other_pools_may_be_empty():
    table = cohort_table(10).query("patient_id in ['P1', 'P2', 'P3', 'P4', 'P6']")
    assert split_sizes(split_patients(table, SplitConfig()))["patients"].tolist() == [1] * 5


def test_a_share_of_zero_leaves_a_split_out():
    shares = {
        "obese": Shares(train=0, valid=0, test=1),
        "handheld": Shares(train=0, valid=0, test=0),
    }
    config = SMALL.model_copy(update=shares)
    split = split_patients(cohort_table(140), config)
    assert patients_in(split, "split_obese") == patients_in(split, "split_obese", "test")
    assert split["split_handheld"].isna().all()


def test_the_tables_own_splits_are_used_and_checked():
    table = cohort_table(2).assign(
        split_stage1=lambda t: np.where(t["patient_id"] == "P0", "train", None)
    )
    applied = apply_splits(table, SplitConfig())
    assert applied["split_stage1"].tolist() == table["split_stage1"].tolist()
    assert applied["split_obese"].isna().all()
    table["split_stage2"] = "test"
    with pytest.raises(InputError, match="line 2 has this patient in split_stage2 = 'test'"):
        apply_splits(table, SplitConfig())
    assert apply_splits(cohort_table(20), SMALL)["split_stage1"].notna().any()


def test_configs_that_make_no_sense():
    with pytest.raises(ValidationError):
        Shares(train=-1, valid=1, test=1)
    with pytest.raises(ValidationError):
        SplitConfig.model_validate({"stage1": {"train": 1, "valid": 1, "test": 1}})
    with pytest.raises(InputError, match="stratify: 'parity' not in the cohort"):
        split_patients(cohort_table(20), SMALL.model_copy(update={"stratify": ("parity",)}))


def test_stage_1_is_dealt_among_the_training_patients_of_a_table_with_stage_2_alone():
    of_patient = {
        f"P{number}": split
        for number, split in enumerate(["train"] * 8 + ["valid"] * 2 + ["test"] * 2)
    }
    table = cohort_table(12)
    table = table.assign(split_stage2=table["patient_id"].map(of_patient))
    applied = apply_splits(table, SplitConfig())
    assert patients_in(applied, "split_stage1") == patients_in(applied, "split_stage2", "train")
    assert patients_in(applied, "split_stage1", "valid")
