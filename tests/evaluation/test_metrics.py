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
    return Scored(
        scored.label[rows],
        scored.prediction[rows],
        None if scored.probabilities is None else scored.probabilities[rows],
        None if scored.variance is None else scored.variance[rows],
    )


@pytest.mark.parametrize("classes", [2, 6])
def test_classes_against_sklearn(classes):
    scored = classified(80, classes)
    label, prediction = scored.label, scored.prediction
    assert value_of(metrics.accuracy, scored) == pytest.approx(
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


def test_auc_against_sklearn_with_ties():
    two, six = classified(80, 2), classified(200, 6)
    assert len(np.unique(two.probabilities[:, 1])) < 20
    expected = sklearn.metrics.roc_auc_score(two.label, two.probabilities[:, 1])
    assert value_of(metrics.auc, two) == pytest.approx(expected)
    each = [
        sklearn.metrics.roc_auc_score(six.label == k, six.probabilities[:, k]) for k in range(6)
    ]
    assert value_of(metrics.auc, six) == pytest.approx(np.mean(each))


def test_auc_of_one_class_is_undefined():
    assert np.isnan(value_of(metrics.auc, classified(10, 2, only=1)))


def test_regression_against_plain_numpy():
    label, prediction = RNG.normal(200, 30, 50), RNG.normal(200, 30, 50)
    scored, error = Scored(label, prediction, variance=np.full(50, 900.0)), prediction - label
    assert value_of(metrics.mae, scored) == pytest.approx(
        sklearn.metrics.mean_absolute_error(label, prediction)
    )
    assert value_of(metrics.abs_error_std, scored) == pytest.approx(np.abs(error).std())
    assert value_of(metrics.bias, scored) == pytest.approx(error.mean())
    assert value_of(metrics.error_std, scored) == pytest.approx(error.std())
    assert value_of(metrics.within(7), scored) == pytest.approx(np.mean(np.abs(error) <= 7))
    assert value_of(metrics.coverage_95, scored) == pytest.approx(
        np.mean(np.abs(error) <= 1.96 * 30), abs=1e-3
    )


def test_the_limit_itself_is_within():
    assert (
        value_of(metrics.within(7), Scored(np.array([200.0, 200.0]), np.array([207.0, 207.01])))
        == 0.5
    )


@pytest.mark.parametrize("metric", [metrics.accuracy, metrics.macro_f1, metrics.auc])
@pytest.mark.parametrize("classes", [2, 4])
def test_weights_mean_repeated_units_for_classes(metric, classes):
    scored = classified(30, classes)
    weights = RNG.integers(0, 4, size=(5, 30))
    expected = [value_of(metric, resampled(scored, row)) for row in weights]
    np.testing.assert_allclose(metric(scored, weights.astype(float)), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "metric",
    [
        metrics.mae,
        metrics.abs_error_std,
        metrics.bias,
        metrics.error_std,
        metrics.within(7.0),
        metrics.coverage_95,
    ],
)
def test_weights_mean_repeated_units_for_values(metric):
    scored = Scored(RNG.normal(size=30), 8 * RNG.normal(size=30), variance=RNG.uniform(1, 60, 30))
    weights = RNG.integers(0, 4, size=(5, 30))
    expected = [value_of(metric, resampled(scored, row)) for row in weights]
    np.testing.assert_allclose(metric(scored, weights.astype(float)), expected, rtol=1e-10)


def test_a_class_that_a_resample_misses_leaves_its_mean():
    scored = Scored(np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0]))
    assert metrics.macro_f1(scored, np.array([[1.0, 1.0, 0.0]]))[0] == pytest.approx(2 / 3)
