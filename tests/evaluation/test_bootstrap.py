from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from bsou_dist.evaluation import bootstrap, metrics
from bsou_dist.evaluation.bootstrap import (
    accuracy_interval,
    bootstrap_difference,
    bootstrap_interval,
    clopper_pearson,
)
from bsou_dist.evaluation.metrics import Scored


def errors_of(values: np.ndarray) -> Scored:
    return Scored(np.zeros(len(values)), values)


def test_clopper_pearson_against_scipy():
    for successes, trials in ((0, 7), (3, 7), (7, 7), (45, 50)):
        expected = binomtest(successes, trials).proportion_ci(0.95, method="exact")
        assert clopper_pearson(successes, trials) == pytest.approx((expected.low, expected.high))


def test_mean_error_has_the_textbook_interval():
    values = np.random.default_rng(0).normal(size=400)
    found = bootstrap_interval(
        metrics.bias, errors_of(values), np.arange(400).astype(str), resamples=4000
    )
    half = 1.96 * values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx(
        (values.mean() - half, values.mean() + half), abs=0.1 * half
    )
    assert (found.n, found.n_patients, found.kind) == (400, 400, "bootstrap")


def test_whole_patients_are_drawn():
    """Twenty equal clips of a patient say no more than one."""
    values = np.random.default_rng(1).normal(size=50)
    single = bootstrap_interval(metrics.bias, errors_of(values), np.arange(50).astype(str))
    repeated = bootstrap_interval(
        metrics.bias, errors_of(np.repeat(values, 20)), np.repeat(np.arange(50), 20).astype(str)
    )
    assert (repeated.low, repeated.high) == pytest.approx((single.low, single.high))
    assert (repeated.n, repeated.n_patients) == (1000, 50)


def test_seed_decides_and_block_size_does_not(monkeypatch):
    scored, patients = (
        errors_of(np.random.default_rng(2).normal(size=60)),
        np.arange(60).astype(str),
    )
    first = bootstrap_interval(metrics.mae, scored, patients, resamples=500, seed=3)
    assert bootstrap_interval(metrics.mae, scored, patients, resamples=500, seed=4) != first
    monkeypatch.setattr(bootstrap, "_MAX_WEIGHTS", 60 * 7)
    assert bootstrap_interval(
        metrics.mae, scored, patients, resamples=500, seed=3
    ) == pytest.approx(first)


def test_paired_difference_is_narrower_than_either():
    rng = np.random.default_rng(3)
    shared = 10 * rng.normal(size=100)
    worse, better = (
        errors_of(np.abs(shared) + 12),
        errors_of(np.abs(shared) + 10 + 0.1 * rng.normal(size=100)),
    )
    patients = np.arange(100).astype(str)
    margin = bootstrap_difference(metrics.mae, worse, better, patients)
    alone = bootstrap_interval(metrics.mae, better, patients)
    assert margin.value == pytest.approx(2, abs=0.05)
    assert margin.low > 1.9
    assert margin.high - margin.low < 0.1 * (alone.high - alone.low)


def test_accuracy_is_exact_with_one_unit_per_patient_and_bootstrapped_otherwise():
    label = np.zeros(40)
    prediction = (np.arange(40) % 10 == 0).astype(float)
    one_each = accuracy_interval(
        metrics.accuracy, Scored(label, prediction), np.arange(40).astype(str)
    )
    assert one_each.kind == "exact"
    assert (one_each.low, one_each.high) == pytest.approx(clopper_pearson(36, 40))
    two_each = accuracy_interval(
        metrics.accuracy, Scored(label, prediction), (np.arange(40) // 2).astype(str)
    )
    assert two_each.kind == "bootstrap"


def test_no_spread_does_not_mean_certainty():
    perfect = accuracy_interval(
        metrics.accuracy, Scored(np.zeros(40), np.zeros(40)), (np.arange(40) // 2).astype(str)
    )
    assert (perfect.low, perfect.high) == pytest.approx(clopper_pearson(20, 20))


def test_undefined_resamples_are_left_out():
    probabilities = np.column_stack([np.linspace(1, 0, 6), np.linspace(0, 1, 6)])
    scored = Scored(np.array([0.0, 0, 0, 0, 0, 1]), np.zeros(6), probabilities)
    found = bootstrap_interval(metrics.auc, scored, np.arange(6).astype(str), resamples=200)
    assert found.value == found.low == found.high == 1.0


def test_coverage_of_the_interval_on_clustered_data():
    """About 95 of 100 intervals hold the true mean; drawing clips instead of patients would hold
    about 60.
    """
    held = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        values = np.repeat(rng.normal(size=40), 6) + 0.3 * rng.normal(size=240)
        found = bootstrap_interval(
            metrics.bias,
            errors_of(values),
            np.repeat(np.arange(40), 6).astype(str),
            resamples=300,
            seed=seed,
        )
        held += found.low <= 0 <= found.high
    assert 88 <= held <= 99
