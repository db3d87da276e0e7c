from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from p1_tasks import TASKS
from pydantic import ValidationError
from scipy.stats import binomtest, ttest_rel

from bsou_dist.common.errors import InputError
from bsou_dist.evaluation.aggregate import exam_predictions
from bsou_dist.evaluation.compare import (
    COMPARISON_COLUMNS,
    PrimaryEndpoint,
    compare_methods,
    one_exam_per_patient,
)


@pytest.fixture(scope="module")
def two_methods(predictions) -> pd.DataFrame:
    """Method `worse` has a third of the presentations turned round, and other errors of age."""
    rng = np.random.default_rng(1)
    worse = predictions.copy()
    is_turned = worse["task"].eq("presentation") & (rng.uniform(size=len(worse)) < 1 / 3)
    worse.loc[is_turned, "prediction"] = 1 - worse.loc[is_turned, "prediction"]
    worse.loc[is_turned, "probabilities"] = worse.loc[is_turned, "probabilities"].map(
        lambda chances: chances[::-1]
    )
    is_age = worse["task"].eq("ga")
    worse.loc[is_age, "prediction"] += rng.normal(0, 15, is_age.sum())
    return pd.concat([predictions.assign(method="better"), worse.assign(method="worse")])


@pytest.fixture(scope="module")
def comparisons(two_methods) -> pd.DataFrame:
    return compare_methods(two_methods, TASKS)


def row(table: pd.DataFrame, task: str, metric: str, set_name: str = "main") -> pd.Series:
    found = table[table["task"].eq(task) & table["metric"].eq(metric) & table["set"].eq(set_name)]
    assert len(found) == 1
    return found.iloc[0]


def test_a_row_per_task_set_and_metric(comparisons):
    assert list(comparisons.columns) == COMPARISON_COLUMNS
    assert set(zip(comparisons["task"], comparisons["metric"], strict=True)) == {
        ("presentation", "accuracy"),
        ("presentation", "auc"),
        ("sweep", "accuracy"),
        ("sweep", "auc"),
        ("ga", "mae"),
    }
    assert not comparisons["is_primary"].any()
    # The sweeps of both methods are the same.
    assert row(comparisons, "sweep", "accuracy")["p"] == 1 or np.isnan(
        row(comparisons, "sweep", "accuracy")["p"]
    )


def test_shares_have_mcnemars_test_on_one_exam_per_patient(two_methods, comparisons):
    rows = one_exam_per_patient(two_methods).query(
        "task == 'presentation' and split == 'test' and set == 'main'"
    )
    right = rows.assign(right=rows["label"].eq(rows["prediction"])).pivot(
        index="key", columns="method", values="right"
    )
    better_alone = int((right["better"] & ~right["worse"]).sum())
    worse_alone = int((right["worse"] & ~right["better"]).sum())
    found = row(comparisons, "presentation", "accuracy")
    assert (found["n"], found["n_patients"]) == (60, 60)
    assert (found["a_alone"], found["b_alone"]) == (better_alone, worse_alone)
    assert found["p"] == pytest.approx(binomtest(better_alone, better_alone + worse_alone).pvalue)
    assert found["test"] == "McNemar exact"
    assert found["difference"] == pytest.approx((better_alone - worse_alone) / 60)
    assert found["low"] < found["difference"] < found["high"]


def test_errors_have_the_paired_t_test_of_exam_values(two_methods, comparisons):
    rows = one_exam_per_patient(two_methods).query(
        "task == 'ga' and split == 'test' and set == 'main'"
    )
    errors = {}
    for method, clips in rows.groupby("method"):
        exams = exam_predictions(clips).sort_values("key")
        errors[method] = (exams["prediction"] - exams["label"]).abs().to_numpy()
    found = row(comparisons, "ga", "mae")
    assert found["level"] == "exam"
    assert found["p"] == pytest.approx(ttest_rel(errors["better"], errors["worse"]).pvalue)
    assert found["test"] == "Student"
    assert pd.isna(found["a_alone"])


def test_swapped_methods_change_the_sign(two_methods, comparisons):
    renamed = two_methods.assign(
        method=two_methods["method"].map({"better": "worse", "worse": "better"})
    )
    swapped = compare_methods(renamed.iloc[::-1], TASKS)
    for metric in ("accuracy", "auc"):
        one = row(comparisons, "presentation", metric)
        other = row(swapped, "presentation", metric)
        sign = 1 if one["method_a"] != other["method_a"] else -1
        low, high = (other["low"], other["high"]) if sign == 1 else (-other["high"], -other["low"])
        assert (one["difference"], one["p"]) == pytest.approx(
            (sign * other["difference"], other["p"])
        )
        assert (one["low"], one["high"]) == pytest.approx((low, high))


def test_order_of_rows_changes_nothing(two_methods, comparisons):
    mixed = two_methods.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(compare_methods(mixed, TASKS), comparisons)


def test_primary_endpoints_come_first_and_by_themselves(two_methods):
    endpoint = PrimaryEndpoint(task="ga", metric="mae", methods=("worse", "better"))
    table = compare_methods(two_methods, TASKS, primary=[endpoint])
    first = table.iloc[0]
    assert (first["task"], first["metric"], first["is_primary"]) == ("ga", "mae", True)
    assert first["method_a"] == "worse"
    assert first["difference"] > 0
    assert first["p_holm"] == first["p"]
    assert table["is_primary"].sum() == 1
    others = table[~table["is_primary"]].dropna(subset=["p"])
    smallest = others["p"].idxmin()
    expected = min(1.0, len(others) * others.loc[smallest, "p"])
    assert others.loc[smallest, "p_holm"] == pytest.approx(expected)
    assert (others["p_holm"] >= others["p"]).all()


def test_endpoints_may_name_two_methods_in_either_order(two_methods):
    endpoints = [
        PrimaryEndpoint(task="ga", metric="mae", methods=("worse", "better")),
        PrimaryEndpoint(task="presentation", metric="auc", methods=("better", "worse")),
    ]
    table = compare_methods(two_methods, TASKS, primary=endpoints)
    found = table[table["is_primary"]].set_index("metric")
    assert found.loc["mae", ["method_a", "method_b"]].tolist() == ["worse", "better"]
    assert found.loc["auc", ["method_a", "method_b"]].tolist() == ["better", "worse"]
    assert (found["difference"] > 0).all()


def test_a_primary_endpoint_may_be_any_metric_of_the_task(two_methods):
    endpoint = PrimaryEndpoint(task="ga", metric="within_7_days", methods=("better", "worse"))
    table = compare_methods(two_methods, TASKS, primary=[endpoint])
    assert table.iloc[0]["metric"] == "within_7_days"
    assert table.iloc[0]["test"] == "McNemar exact"


def test_seeds_of_a_method_are_one_figure(two_methods, comparisons):
    seeds = pd.concat([two_methods.assign(seed=seed) for seed in (1, 2, 3)])
    table = compare_methods(seeds, TASKS)
    for column in ("difference", "low", "high", "p"):
        one, three = row(comparisons, "ga", "mae"), row(table, "ga", "mae")
        assert three[column] == pytest.approx(one[column])
    assert row(table, "presentation", "accuracy")["test"] == "Student"


def test_all_exams_are_more_units_of_the_same_patients(two_methods):
    found = row(compare_methods(two_methods, TASKS, exams="all"), "presentation", "accuracy")
    assert (found["n"], found["n_patients"]) == (120, 60)
    assert found["test"] == "Student"


def test_one_exam_per_patient_is_the_same_for_all_tasks(predictions):
    chosen = one_exam_per_patient(predictions)
    test = chosen[chosen["split"].eq("test")]
    assert test.groupby(["set", "patient"])["exam"].nunique().eq(1).all()
    assert test["patient"].nunique() == predictions.query("split == 'test'")["patient"].nunique()
    others = predictions["split"].ne("test")
    assert chosen["split"].ne("test").sum() == others.sum()
    # Both visits are chosen from about equally often.
    assert 0.25 < test.drop_duplicates("exam")["exam"].str.endswith("-0").mean() < 0.75


def test_only_what_both_methods_predicted_counts(two_methods):
    patients = two_methods.query("split == 'test' and set == 'main'")["patient"].unique()
    is_lost = two_methods["method"].eq("worse") & two_methods["patient"].isin(patients[:20])
    found = row(compare_methods(two_methods[~is_lost], TASKS), "presentation", "accuracy")
    assert (found["n"], found["n_patients"]) == (40, 40)


def test_the_users_mistakes(two_methods):
    with pytest.raises(InputError, match="need a column 'method'"):
        compare_methods(two_methods.drop(columns="method"), TASKS)
    with pytest.raises(InputError, match=r"of 1 method \(better\)"):
        compare_methods(two_methods[two_methods["method"].eq("better")], TASKS)
    unknown = PrimaryEndpoint(task="ga", metric="accuracy", methods=("better", "worse"))
    with pytest.raises(InputError, match="primary endpoint 'accuracy' of task 'ga'"):
        compare_methods(two_methods, TASKS, primary=[unknown])
    shifted = two_methods.copy()
    is_other = shifted["method"].eq("worse") & shifted["task"].eq("ga")
    shifted.loc[is_other, "label"] += 1
    with pytest.raises(InputError, match="different labels of task 'ga'"):
        compare_methods(shifted, TASKS)
    with pytest.raises(ValidationError, match="name two methods"):
        PrimaryEndpoint(task="ga", metric="mae", methods=("a", "a"))
    seeds = pd.concat([two_methods.assign(seed=1), two_methods.iloc[:-9].assign(seed=2)])
    with pytest.raises(InputError, match="the seeds have predictions of different"):
        compare_methods(seeds, TASKS)
