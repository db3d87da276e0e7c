from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bsou_dist.common.errors import InputError
from bsou_dist.evaluation import metrics
from bsou_dist.evaluation.aggregate import (
    exam_classes,
    exam_predictions,
    is_for_calibration,
    recalibrate_variance,
)
from bsou_dist.evaluation.metrics import Scored
from bsou_dist.predict.prediction_table import SCHEMA


def clips(*rows: tuple[str, float, float]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["exam", "prediction", "variance"])
    frame = frame.assign(
        task="ga",
        set="main",
        split="test",
        level="clip",
        label=200.0,
        patient="P",
        study="S",
        key=[f"k{i}" for i in range(len(rows))],
    )
    return frame.reindex(columns=SCHEMA.names)


def test_inverse_variance_mean_by_hand():
    exams = exam_predictions(clips(("A", 190.0, 4.0), ("A", 200.0, 1.0), ("B", 150.0, 9.0)))
    assert exams["exam"].tolist() == exams["key"].tolist() == ["A", "B"]
    assert exams["level"].unique().tolist() == ["exam"]
    np.testing.assert_allclose(exams["prediction"], [(190 / 4 + 200) / 1.25, 150.0])
    np.testing.assert_allclose(exams["variance"], [0.8, 9.0])
    assert exams["label"].tolist() == [200.0, 200.0]


def test_two_exams_of_one_patient_stay_two():
    assert len(exam_predictions(clips(("A", 190.0, 4.0), ("B", 200.0, 1.0)))) == 2


def test_one_exam_in_two_sets_stays_two():
    twice = pd.concat([clips(("A", 190.0, 4.0)), clips(("A", 200.0, 1.0)).assign(set="obese")])
    assert len(exam_predictions(twice)) == 2


@pytest.mark.parametrize("variance", [0.0, -1.0, np.nan])
def test_variances_must_be_positive(variance):
    with pytest.raises(InputError, match="first 'k1' of task 'ga'"):
        exam_predictions(clips(("A", 190.0, 4.0), ("A", 200.0, variance)))


@pytest.mark.parametrize("column", ["label", "patient"])
def test_an_exam_has_one_label_and_one_patient(column):
    rows = clips(("A", 190.0, 4.0), ("A", 200.0, 1.0))
    rows[column] = [201.0, 202.0] if column == "label" else ["P", "Q"]
    with pytest.raises(InputError, match=f"two values of {column}, first 'A'"):
        exam_predictions(rows)


def test_labels_that_differ_within_an_exam_are_averaged_where_they_may():
    rows = clips(("A", 190.0, 4.0), ("A", 200.0, 1.0), ("B", 150.0, 9.0))
    rows["label"] = [201.0, 203.0, 150.0]
    assert exam_predictions(rows, labels_differ=True)["label"].tolist() == [202.0, 150.0]
    rows["patient"] = ["P", "Q", "P"]
    with pytest.raises(InputError, match="two values of patient"):
        exam_predictions(rows, labels_differ=True)


def test_recalibration_makes_standardised_errors_one_on_validation():
    rng = np.random.default_rng(0)
    valid = pd.DataFrame({"label": 0.0, "prediction": 3 * rng.normal(size=500), "variance": 1.0})
    valid["patient"] = [f"P{i // 2}" for i in range(500)]
    test = pd.DataFrame({"label": 0.0, "prediction": 0.0, "variance": [1.0, 2.0]})
    recalibrated = recalibrate_variance(valid, test)
    own = valid[is_for_calibration(valid["patient"])]
    assert 100 < own["patient"].nunique() < 150
    assert recalibrated["calibration_df"].tolist() == [own["patient"].nunique()] * 2
    scaled = recalibrated["variance"]
    assert scaled[1] == pytest.approx(2 * scaled[0])
    assert scaled[0] == pytest.approx((own["prediction"] ** 2).mean())
    assert recalibrate_variance(valid.iloc[:0], test)["variance"].tolist() == [1.0, 2.0]


def classified(*rows: tuple[str, float, list[float] | None]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["exam", "label", "probabilities"])
    keys = [f"k{number}" for number in range(len(rows))]
    frame = frame.assign(task="multiple", set="main", split="test", level="clip", key=keys)
    return frame.assign(patient="P", study="S", device="GE").reindex(columns=SCHEMA.names)


def test_mean_probabilities_by_hand():
    exams = exam_classes(
        classified(("B", 1, [0.1, 0.9]), ("A", 0, [0.9, 0.1]), ("A", 0, [0.2, 0.8]))
    )
    assert exams["key"].tolist() == ["A", "B"]
    np.testing.assert_allclose(
        np.stack(exams["probabilities"].tolist()), [[0.55, 0.45], [0.1, 0.9]]
    )
    assert exams["prediction"].tolist() == [0.0, 1.0]
    assert exams["label"].tolist() == [0.0, 1.0]
    assert exams["device"].tolist() == ["GE", "GE"]


def test_classes_that_differ_within_an_exam_have_no_mean():
    assert exam_classes(classified(("A", 0, [0.9, 0.1]), ("A", 1, [0.2, 0.8]))) is None
    assert exam_classes(classified(("A", 0, [0.9, 0.1]), ("A", 0, None))) is None
    of_two = classified(("A", 0, [0.9, 0.1]), ("A", 0, [0.2, 0.8])).assign(patient=["P", "Q"])
    with pytest.raises(InputError, match="two values of patient"):
        exam_classes(of_two)


def test_who_is_kept_for_calibration_is_a_function_of_the_name():
    patients = pd.Series([f"P{i}" for i in range(200)])
    kept = is_for_calibration(patients)
    assert 70 < kept.sum() < 130
    mixed = patients.sample(frac=1, random_state=0)
    assert is_for_calibration(mixed)[kept.index].equals(kept)
    assert is_for_calibration(patients[:1]).tolist() == kept[:1].tolist()


def test_intervals_of_exams_hold_though_few_calibrate_them():
    """Four patients calibrate: with Student's quantile 95 of 100 intervals hold, not 88."""
    rng = np.random.default_rng(1)
    names = pd.Series([f"P{i}" for i in range(40)])
    names = names[is_for_calibration(names)][:4].tolist()
    held, plain = [], []
    for _ in range(400):
        valid = pd.DataFrame({"label": 0.0, "prediction": 3 * rng.normal(size=4), "variance": 1.0})
        test = pd.DataFrame({"label": 0.0, "prediction": 3 * rng.normal(size=20), "variance": 1.0})
        exams = recalibrate_variance(valid.assign(patient=names), test)
        error = exams["prediction"].to_numpy()
        variance = exams["variance"].to_numpy()
        df = exams["calibration_df"].to_numpy()
        scored = Scored(np.zeros(20), error, variance=variance, df=df)
        held.append(metrics.is_covered(scored).mean())
        certain = Scored(np.zeros(20), error, variance=variance, df=np.full(20, np.inf))
        plain.append(metrics.is_covered(certain).mean())
    assert 0.93 < np.mean(held) < 0.97
    assert np.mean(plain) < 0.9
