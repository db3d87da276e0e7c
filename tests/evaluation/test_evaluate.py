from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from p1_tasks import TASKS

from bsou_dist.common.errors import InputError
from bsou_dist.evaluation.aggregate import exam_predictions
from bsou_dist.evaluation.binary import youden_threshold
from bsou_dist.evaluation.evaluate import NO_INTERVAL, RECORD_COLUMNS, evaluate_predictions
from bsou_dist.predict.prediction_table import read_predictions, write_predictions


@pytest.fixture(scope="module")
def records(predictions) -> pd.DataFrame:
    return evaluate_predictions(predictions, TASKS)


def row(
    records: pd.DataFrame, task: str, metric: str, set_name: str = "main", level: str | None = None
) -> pd.Series:
    found = records[
        (records["task"] == task) & (records["metric"] == metric) & (records["set"] == set_name)
    ]
    found = found if level is None else found[found["level"] == level]
    assert len(found) == 1
    return found.iloc[0]


def test_records_are_complete(records):
    assert list(records.columns) == RECORD_COLUMNS
    assert not records.duplicated(["task", "set", "level", "metric"]).any()
    plain = records["interval"].eq(NO_INTERVAL)
    # A constant ranks nothing, and the set 'obese' has few of a class.
    is_unsure = records["metric"].str.startswith("baseline_") | records["set"].eq("obese")
    with_interval = records[~plain & ~is_unsure]
    assert with_interval[["low", "high"]].notna().all(axis=None)
    assert records.loc[plain, "value"].notna().all()
    assert set(records[records["task"] == "ga"]["level"]) == {"clip", "exam"}
    assert set(records[records["task"] == "sweep"]["level"]) == {"clip"}
    metrics_of = records.groupby("task")["metric"].agg(set)
    of_classes = {"accuracy", "macro_f1", "auc", "brier"}
    at_threshold = {"sensitivity", "specificity", "ppv", "npv", "balanced_accuracy"}
    of_two = {"pr_auc", "calibration_slope", "calibration_intercept", *of_classes, *at_threshold}
    margins = {"margin_accuracy", "margin_macro_f1"}
    assert metrics_of["sweep"] == (
        with_baseline(of_classes) | margins | {f"class_{index}" for index in range(6)}
    )
    assert metrics_of["presentation"] == (
        with_baseline(of_two) | margins | {"class_0", "class_1", "threshold"}
    )
    errors = {"mae", "abs_error_std", "bias", "error_std", "within_7_days", "within_14_days"}
    assert metrics_of["ga"] == (
        with_baseline(errors) | {"coverage_95", "margin_mae", "margin_abs_error_std"}
    )


def with_baseline(metrics: set[str]) -> set[str]:
    return metrics | {f"baseline_{metric}" for metric in metrics}


def test_counts_are_units_and_patients(records):
    assert tuple(row(records, "sweep", "accuracy")[["n", "n_patients"]]) == (480, 60)
    assert tuple(row(records, "presentation", "accuracy")[["n", "n_patients"]]) == (120, 60)
    assert tuple(row(records, "ga", "mae", level="exam")[["n", "n_patients"]]) == (120, 60)
    assert tuple(row(records, "presentation", "accuracy", "obese")[["n", "n_patients"]]) == (20, 10)


def test_classes_are_counted(records, predictions):
    test = predictions.query("task == 'presentation' and split == 'test' and set == 'main'")
    positive = test[test["label"] == 1]
    counted = row(records, "presentation", "class_1")
    assert counted["value"] == counted["n"] == len(positive)
    assert counted["n_patients"] == positive["patient"].nunique()


def test_thresholds_are_those_of_the_validation_split(records, predictions):
    of_task = predictions.query("task == 'presentation' and set == 'main'")
    valid, test = (of_task[of_task["split"] == split] for split in ("valid", "test"))
    positive = valid["label"].to_numpy() == 1
    expected = youden_threshold(positive, np.stack(valid["probabilities"].tolist())[:, 1])
    threshold = row(records, "presentation", "threshold")
    assert threshold["value"] == expected
    assert tuple(threshold[["n", "n_patients"]]) == (60, 30)
    called = np.stack(test["probabilities"].tolist())[:, 1] >= expected
    found = called[test["label"] == 1].mean()
    assert row(records, "presentation", "sensitivity")["value"] == pytest.approx(found)


def test_without_validation_the_threshold_is_one_half(predictions):
    records = evaluate_predictions(predictions[predictions["split"] != "valid"], TASKS)
    assert tuple(row(records, "presentation", "threshold")[["value", "n"]]) == (0.5, 0)
    of_valid = evaluate_predictions(predictions, TASKS, split="valid")
    assert tuple(row(of_valid, "presentation", "threshold")[["value", "n"]]) == (0.5, 0)


def test_a_wanted_sensitivity_and_the_other_class(predictions):
    other = TASKS["presentation"].model_copy(
        update={"positive": "cephalic", "wanted_sensitivity": 0.95}
    )
    presentation = predictions[predictions["task"] == "presentation"]
    of_valid = presentation[presentation["split"] == "valid"].assign(split="test")
    both = pd.concat([presentation[presentation["split"] != "test"], of_valid])
    records = evaluate_predictions(both, {"presentation": other})
    assert 0.95 <= row(records, "presentation", "sensitivity")["value"] < 1
    assert row(records, "presentation", "baseline_sensitivity")["value"] == 1, "the majority"


def test_the_majority_finds_no_rare_class(records):
    assert row(records, "presentation", "baseline_sensitivity")["value"] == 0
    assert row(records, "presentation", "baseline_specificity")["value"] == 1
    assert np.isnan(row(records, "presentation", "baseline_ppv")["value"])
    assert row(records, "presentation", "baseline_auc")["value"] == 0.5
    prevalence = row(records, "presentation", "class_1")["value"] / 120
    assert row(records, "presentation", "baseline_pr_auc")["value"] == pytest.approx(prevalence)


def test_clips_classes_have_an_exam_value(predictions):
    multiple = predictions[predictions["task"] == "sweep"].copy()
    one_class = multiple.groupby("exam")["label"].transform("first")
    chance = multiple["probabilities"].map(lambda of_clip: of_clip[0])
    multiple["label"] = (one_class + multiple["exam"].str.len()) % 2
    multiple["probabilities"] = [[1 - share, share] for share in chance]
    multiple["prediction"] = (chance > 0.5).astype(float)
    records = evaluate_predictions(
        multiple.assign(task="multiple"), {"multiple": TASKS["multiple"]}
    )
    test = multiple.query("split == 'test' and set == 'main'").assign(share=chance)
    exams = test.groupby("exam")[["label", "share"]].mean()
    expected = (exams["label"] == (exams["share"] > 0.5)).mean()
    found = row(records, "multiple", "accuracy", level="exam")
    assert found["value"] == pytest.approx(expected)
    assert tuple(found[["n", "n_patients"]]) == (120, 60)
    assert row(records, "multiple", "threshold", level="exam")["n"] == 60
    assert row(records, "multiple", "threshold", level="clip")["n"] == 240


def test_exam_values_are_the_inverse_variance_means(records, predictions):
    exams = exam_predictions(
        predictions.query("task == 'ga' and split == 'test' and set == 'main'")
    )
    error = exams["prediction"] - exams["label"]
    assert row(records, "ga", "mae", level="exam")["value"] == pytest.approx(error.abs().mean())
    assert (
        row(records, "ga", "mae", level="exam")["value"]
        < row(records, "ga", "mae", level="clip")["value"]
    )


def test_recalibrated_exam_intervals_cover(records, predictions):
    assert 0.9 <= row(records, "ga", "coverage_95", level="exam")["value"] <= 1.0
    without = evaluate_predictions(predictions[predictions["split"] != "valid"], TASKS)
    assert (
        row(without, "ga", "coverage_95", level="exam")["value"] < 0.85
    )  # clips of an exam share an error


def test_the_baseline_comes_from_training_labels(records, predictions):
    labels = predictions[
        (predictions["task"] == "presentation") & (predictions["split"] == "train")
    ]["label"]
    of_test = predictions[
        (predictions["task"] == "presentation") & (predictions["split"] == "test")
    ]
    expected = (of_test[of_test["set"] == "main"]["label"] == labels.mode()[0]).mean()
    assert row(records, "presentation", "baseline_accuracy")["value"] == pytest.approx(expected)
    # The set 'obese' has no training split of its own.
    expected = (of_test[of_test["set"] == "obese"]["label"] == labels.mode()[0]).mean()
    assert row(records, "presentation", "baseline_accuracy", "obese")["value"] == pytest.approx(
        expected
    )


def test_a_sets_own_training_labels_come_first(predictions):
    ga = predictions[predictions["task"] == "ga"]
    own = ga[ga["split"] == "train"].head(8).assign(set="obese", label=150.0)
    records = evaluate_predictions(pd.concat([ga, own]), TASKS)
    obese = ga[ga["set"] == "obese"]
    expected = (obese["label"] - 150.0).abs().mean()
    assert row(records, "ga", "baseline_mae", "obese", "clip")["value"] == pytest.approx(expected)


def test_numbers_are_compared_with_the_median(records, predictions):
    ga = predictions[predictions["task"] == "ga"]
    median = ga[ga["split"] == "train"]["label"].median()
    test = ga.query("split == 'test' and set == 'main'")
    expected = (test["label"] - median).abs().mean()
    assert row(records, "ga", "baseline_mae", level="clip")["value"] == pytest.approx(expected)
    bias = (median - test["label"]).mean()
    assert row(records, "ga", "baseline_bias", level="clip")["value"] == pytest.approx(bias)


def test_margins_are_positive_where_the_model_is_better(records):
    for task, metric, level in (
        ("presentation", "accuracy", "exam"),
        ("sweep", "macro_f1", "clip"),
        ("ga", "mae", "exam"),
        ("ga", "mae", "clip"),
    ):
        margin = row(records, task, f"margin_{metric}", level=level)
        model, baseline = (
            row(records, task, metric, level=level),
            row(records, task, f"baseline_{metric}", level=level),
        )
        assert margin["value"] == pytest.approx(abs(model["value"] - baseline["value"]))
        assert 0 < margin["low"] < margin["value"] < margin["high"]


def test_a_model_of_chance_has_a_margin_that_holds_zero(predictions):
    rng = np.random.default_rng(5)
    sweep = predictions[predictions["task"] == "sweep"].copy()
    sweep["prediction"] = rng.integers(0, 4, len(sweep)).astype(float)
    margin = row(evaluate_predictions(sweep, TASKS), "sweep", "margin_accuracy")
    assert margin["low"] <= 0 <= margin["high"]


def test_train_rows_need_only_labels_and_the_file_format_is_read(predictions, records, tmp_path):
    stripped = predictions.copy()
    stripped.loc[stripped["split"] == "train", ["prediction", "variance", "probabilities"]] = np.nan
    stripped["probabilities"] = stripped["probabilities"].where(
        stripped["probabilities"].notna(), None
    )
    write_predictions(stripped, tmp_path / "predictions.parquet")
    again = evaluate_predictions(read_predictions(tmp_path / "predictions.parquet"), TASKS)
    pd.testing.assert_frame_equal(again, records)


def test_order_of_rows_changes_nothing(predictions, records):
    again = evaluate_predictions(predictions.sample(frac=1, random_state=0), TASKS)
    key = ["task", "set", "level", "metric"]
    pd.testing.assert_frame_equal(
        again.sort_values(key, ignore_index=True), records.sort_values(key, ignore_index=True)
    )


def test_unlabelled_rows_are_left_out(predictions, records):
    unlabelled = predictions[predictions["split"] == "test"].assign(label=np.nan)
    unlabelled["key"] += "-unlabelled"
    both = pd.concat([predictions, unlabelled])
    assert evaluate_predictions(both, TASKS)["n"].tolist() == records["n"].tolist()


def test_the_users_mistakes(predictions):
    with pytest.raises(InputError, match=r"unknown tasks .'sweep'"):
        evaluate_predictions(predictions, {name: TASKS[name] for name in ("ga", "presentation")})
    with pytest.raises(
        InputError, match="no labelled predictions of split 'test'; predictions hold train, valid"
    ):
        evaluate_predictions(predictions[predictions["split"] != "test"], TASKS)
    with pytest.raises(InputError, match="no training labels of task 'presentation'"):
        evaluate_predictions(predictions[predictions["split"] != "train"], TASKS)
    with pytest.raises(InputError, match="1 predictions are there twice, first 'main-train-0-0'"):
        evaluate_predictions(pd.concat([predictions, predictions.iloc[:1]]), TASKS)
    holes = predictions.assign(
        prediction=predictions["prediction"].where(predictions["task"] != "presentation")
    )
    with pytest.raises(
        InputError, match="120 labelled rows of task 'presentation' have no prediction"
    ):
        evaluate_predictions(holes, TASKS)
