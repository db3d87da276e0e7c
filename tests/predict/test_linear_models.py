"""Linear models: the optimum of what they minimise, standardised features, the penalty's choice."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest

from bsou_dist.predict.linear_models import ClassModel, NumberModel, Standard, fit_best


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray]:
    """Features (60, 5), one of them the same in every row, one now and then missing; a signal."""
    rng = np.random.default_rng(4)
    features = rng.normal(3.0, [1.0, 10.0, 0.1, 1.0, 1.0], size=(60, 5))
    signal = features[:, 0] - 0.1 * features[:, 1]
    features[:, 3] = 7.0
    features[::7, 4] = np.nan
    return features, signal


def test_features_are_standardised_and_missing_ones_count_as_the_mean(rows):
    features, _ = rows
    found = Standard.of(features)(features)
    np.testing.assert_allclose(found[:, :3].mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(found[:, :3].std(axis=0), 1.0, rtol=1e-12)
    assert not found[:, 3].any()
    assert not found[::7, 4].any()
    known = ~np.isnan(features[:, 4])
    assert found[known, 4].std() == pytest.approx(1.0)


def test_numbers_are_where_the_penalised_squares_are_least(rows):
    features, signal = rows
    labels = 100.0 + 5.0 * signal
    model = NumberModel.fit(features, labels, 10.0)
    z = model.standard(features)
    slope = -z.T @ (labels - model.predict(features)) + 10.0 * model.weights
    np.testing.assert_allclose(slope, 0.0, atol=1e-8)
    assert model.variance == pytest.approx(((labels - model.predict(features)) ** 2).mean())
    constant = NumberModel.fit(features, labels, math.inf)
    np.testing.assert_array_equal(constant.predict(features), np.median(labels))


def test_classes_are_where_the_penalised_cross_entropy_is_least(rows):
    features, signal = rows
    labels = np.digitize(signal, np.quantile(signal, [0.3, 0.6])).astype(float)
    model = ClassModel.fit(features, labels, 2.0, classes=3)
    shares = model.predict(features)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    excess = shares - np.eye(3)[labels.astype(int)]
    slope = model.standard(features).T @ excess + 2.0 * model.weights
    assert np.abs(slope).max() < 1e-2
    assert np.abs(excess.sum(axis=0)).max() < 1e-2
    assert (shares.argmax(axis=1) == labels).mean() > 0.8
    expected = -np.log(shares[np.arange(60), labels.astype(int)]).mean()
    assert model.loss(features, labels) == pytest.approx(expected)


def test_features_without_any_use_leave_next_to_a_constant():
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(40, 30)), np.tile([0.0, 1.0], 20)
    others, other_labels = rng.normal(size=(40, 30)), np.tile([0.0, 1.0], 20)
    fit = partial(ClassModel.fit, classes=2)
    found = fit_best(fit, features, labels, others, other_labels)
    np.testing.assert_allclose(found.predict(others), 0.5, atol=0.05)


def test_the_penalty_that_tells_other_rows_best_is_chosen(rows):
    features, signal = rows
    found = fit_best(NumberModel.fit, features[:40], signal[:40], features[40:], signal[40:])
    assert found.loss(features[40:], signal[40:]) < 0.1 * np.abs(signal).mean()
