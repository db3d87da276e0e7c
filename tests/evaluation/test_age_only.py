from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import sklearn.linear_model
from p1_tasks import TASKS

from bsou_dist.evaluation.age_only import class_probabilities_by_age
from bsou_dist.evaluation.evaluate import evaluate_predictions


def drawn(count: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    days = rng.uniform(100, 280, count)
    scores = np.outer((days - 190) / 50, np.arange(classes)) + rng.gumbel(size=(count, classes))
    return days, scores.argmax(axis=1).astype(float)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_fit_is_that_of_a_penalised_logistic_regression(classes):
    days, labels = drawn(300, classes)
    at = np.linspace(90, 290, 9)
    found = class_probabilities_by_age(days, labels, at, classes)
    age = ((days - days.mean()) / days.std())[:, None]
    # With two classes scikit-learn has one slope, the difference of ours, of which either has half:
    # what it penalises once we penalise by a half.
    inverse_penalty = 2.0 if classes == 2 else 1.0
    model = sklearn.linear_model.LogisticRegression(C=inverse_penalty, tol=1e-10, max_iter=10_000)
    model.fit(age, labels)
    expected = model.predict_proba(((at - days.mean()) / days.std())[:, None])
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_unknown_ages_have_the_shares_of_training():
    days, labels = drawn(100, 2)
    found = class_probabilities_by_age(days, labels, np.array([np.nan, 200.0]), 3)
    assert found[0] == pytest.approx([*np.bincount(labels.astype(int)) / 100, 0])
    assert found[1, 2] == 0, "a class that training lacks"
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_separated_classes_have_finite_slopes():
    days = np.arange(100.0, 140)
    found = class_probabilities_by_age(days, (days > 120).astype(float), days, 2)
    assert 0.5 < found[-1, 1] < 1


def test_what_teaches_nothing_gives_nothing():
    days, labels = drawn(40, 2)
    unknown = np.full(40, np.nan)
    assert class_probabilities_by_age(unknown, labels, days, 2) is None
    assert class_probabilities_by_age(days, labels, unknown, 2) is None
    assert class_probabilities_by_age(np.full(40, 200.0), labels, days, 2) is None


def test_records_of_age_alone(predictions):
    """Presentation follows from age here: age alone reads it, whatever the model says."""
    rows = predictions[predictions["task"].eq("presentation")].copy()
    rows["ga_days"] = np.random.default_rng(1).uniform(100, 280, len(rows))
    rows["label"] = (rows["ga_days"] < 160).astype(float)
    records = evaluate_predictions(rows, TASKS)
    values = records[records["set"].eq("main")].set_index("metric")["value"]
    assert values["age_only_auc"] == 1
    assert values["age_only_sensitivity"] > 0.9
    assert values["baseline_auc"] == 0.5
    assert values["auc"] < 0.7
    of_valid = rows[rows["split"].eq("test")].assign(split="valid", label=0.0)
    without = pd.concat([rows, of_valid.assign(ga_days=np.nan)])
    assert "age_only_auc" in set(evaluate_predictions(without, TASKS)["metric"])


def test_ages_themselves_and_sweeps_have_no_such_row(predictions):
    ages = predictions[predictions["task"].eq("ga")]
    in_bins = ages.assign(
        task="ga_bin",
        label=np.digitize(ages["label"], TASKS["ga_bin"].bin_edges).astype(float),
        prediction=0.0,
        probabilities=[[0.25] * 4] * len(ages),
    )
    both = pd.concat([predictions, in_bins])
    records = evaluate_predictions(both, TASKS)
    assert not records["metric"].str.startswith("age_only_").any()
