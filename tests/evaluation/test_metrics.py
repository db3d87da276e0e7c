from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics

from bsou_dist.evaluation import metrics
from bsou_dist.evaluation.metrics import Scored, value_of

RNG = np.random.default_rng(1)


def classified(n: int, classes: int, only: int | None = None) -> Scored:
    """Random classes, probabilities rounded so that scores tie; labels come from the first ``only``
    classes.
    """
    probabilities = np.round(RNG.dirichlet(np.ones(classes), size=n), 1)
    label = RNG.integers(only or classes, size=n)
    return Scored(label.astype(float), probabilities.argmax(axis=1).astype(float), probabilities)


def resampled(scored: Scored, weights: np.ndarray) -> Scored:
    """The units written out as often as they count."""
    rows = np.repeat(np.arange(len(scored.label)), weights)
    return Scored(scored.label[rows], scored.prediction[rows])


@pytest.mark.parametrize("classes", [2, 6])
def test_classes_against_sklearn(classes):
    scored = classified(80, classes)
    label, prediction = scored.label, scored.prediction
    assert metrics.is_right(scored).mean() == pytest.approx(
        sklearn.metrics.accuracy_score(label, prediction)
    )
    assert value_of(metrics.macro_f1, scored) == pytest.approx(
        sklearn.metrics.f1_score(label, prediction, average="macro", labels=np.unique(label))
    )
    np.testing.assert_array_equal(
        metrics.confusion_matrix(label, prediction, classes),
        sklearn.metrics.confusion_matrix(label, prediction, labels=range(classes)),
    )


def test_macro_f1_is_over_the_classes_of_the_labels():
    scored = classified(60, 6, only=3)
    assert set(scored.prediction) - set(scored.label)
    expected = sklearn.metrics.f1_score(
        scored.label, scored.prediction, average="macro", labels=[0, 1, 2]
    )
    assert value_of(metrics.macro_f1, scored) == pytest.approx(expected)


def test_regression_against_plain_numpy():
    label, prediction = RNG.normal(200, 30, 50), RNG.normal(200, 30, 50)
    error = prediction - label
    certain = np.full(50, np.inf)
    scored = Scored(label, prediction, variance=np.full(50, 900.0), df=certain)
    np.testing.assert_array_equal(metrics.error(scored), error)
    assert metrics.absolute_error(scored).mean() == pytest.approx(
        sklearn.metrics.mean_absolute_error(label, prediction)
    )
    np.testing.assert_array_equal(metrics.is_within(7)(scored), np.abs(error) <= 7)
    np.testing.assert_array_equal(metrics.is_covered(scored), np.abs(error) <= 1.959964 * 30)


def test_few_exams_of_calibration_widen_what_is_predicted():
    """Student's 97.5 % point with 4 degrees of freedom is 2.776."""
    error = np.array([2.7, 2.8])
    scored = Scored(np.zeros(2), error, variance=np.ones(2), df=np.full(2, 4.0))
    assert metrics.is_covered(scored).tolist() == [True, False]


def test_the_limit_itself_is_within():
    scored = Scored(np.array([200.0, 200.0]), np.array([207.0, 207.01]))
    assert metrics.is_within(7)(scored).tolist() == [True, False]


@pytest.mark.parametrize("classes", [2, 4])
def test_weights_mean_repeated_units(classes):
    scored = classified(30, classes)
    weights = RNG.integers(0, 4, size=(5, 30))
    expected = [value_of(metrics.macro_f1, resampled(scored, row)) for row in weights]
    found = metrics.macro_f1(scored, weights.astype(float))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_macro_f1_is_worth_fewer_units_where_a_class_is_rare():
    even = Scored(np.repeat([0.0, 1.0], 50), np.zeros(100))
    rare = Scored(np.repeat([0.0, 1.0], [98, 2]), np.zeros(100))
    assert metrics.macro_f1_independent_n(even) == pytest.approx(100)
    assert metrics.macro_f1_independent_n(rare) == pytest.approx(4 / (1 / 98 + 1 / 2))


def test_a_class_that_a_resample_misses_leaves_its_mean():
    scored = Scored(np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0]))
    assert metrics.macro_f1(scored, np.array([[1.0, 1.0, 0.0]]))[0] == pytest.approx(2 / 3)
