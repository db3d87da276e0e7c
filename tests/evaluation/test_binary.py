from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import sklearn.metrics

from bsou_dist.evaluation import binary
from bsou_dist.evaluation.metrics import Scored, value_of


def units(positive: list[int], score: list[float]) -> Scored:
    probability = np.array(score)
    label = np.array(positive, float)
    return Scored(label, (probability > 0.5) * 1.0, np.column_stack([1 - probability, probability]))


TEN = units([0, 0, 0, 0, 0, 0, 1, 0, 1, 1], [0.05, 0.1, 0.1, 0.2, 0.3, 0.4, 0.35, 0.6, 0.7, 0.9])


def test_youdens_threshold_by_hand():
    # Above 0.325 are all three positives and two of seven negatives: J = 1 - 2/7.
    # Above 0.65 are two positives and no negative: J = 2/3.
    threshold = binary.youden_threshold(TEN.label == 1, TEN.probabilities[:, 1])
    assert threshold == pytest.approx(0.325)


def test_of_equally_good_thresholds_the_one_that_finds_most():
    positive = np.array([False, True, False, True])
    # J is 1/2 above 0.15 (both found) and above 0.35 (one found, none wrongly called).
    assert binary.youden_threshold(positive, np.array([0.1, 0.2, 0.3, 0.4])) == pytest.approx(0.15)


@pytest.mark.parametrize(
    ("wanted", "expected"), [(0.3, 0.8), (0.6, 0.65), (0.7, 0.325), (1, 0.325)]
)
def test_the_highest_threshold_of_a_wanted_sensitivity(wanted, expected):
    found = binary.threshold_of_sensitivity(TEN.label == 1, TEN.probabilities[:, 1], wanted)
    assert found == pytest.approx(expected)


def test_one_class_fixes_no_threshold():
    for positive in ([True, True], [False, False]):
        score = np.array([0.2, 0.4])
        assert binary.youden_threshold(np.array(positive), score) is None
        assert binary.threshold_of_sensitivity(np.array(positive), score, 0.9) is None


def test_equal_scores_call_all_positive():
    positive = np.array([True, False, False])
    assert binary.youden_threshold(positive, np.full(3, 0.3)) == 0


@pytest.mark.parametrize("positive", [0, 1])
def test_shares_at_a_threshold_against_sklearn(positive):
    rng = np.random.default_rng(2)
    scored = units(rng.integers(2, size=60).tolist(), np.round(rng.uniform(size=60), 1).tolist())
    scored = replace(scored, threshold=0.3)
    called = scored.probabilities[:, positive] >= 0.3
    truth = scored.label == positive
    expected = {
        binary.is_found: sklearn.metrics.recall_score(truth, called),
        binary.is_spared: sklearn.metrics.recall_score(~truth, ~called),
        binary.is_rightly_called: sklearn.metrics.precision_score(truth, called),
        binary.is_rightly_spared: sklearn.metrics.precision_score(~truth, ~called),
    }
    for holds, value in expected.items():
        assert np.nanmean(holds(positive)(scored)) == pytest.approx(value)
    assert value_of(binary.balanced_accuracy(positive), scored) == pytest.approx(
        sklearn.metrics.balanced_accuracy_score(truth, called)
    )
    assert value_of(binary.average_precision(positive), scored) == pytest.approx(
        sklearn.metrics.average_precision_score(truth, scored.probabilities[:, positive])
    )


def test_weights_count_units_several_times():
    weights = np.array([2, 0, 1, 3, 1, 1, 2, 1, 1, 0])
    rows = np.repeat(np.arange(10), weights)
    written_out = Scored(TEN.label[rows], TEN.prediction[rows], TEN.probabilities[rows])
    for metric in (binary.average_precision(1), binary.balanced_accuracy(1)):
        assert metric(TEN, weights[None].astype(float))[0] == pytest.approx(
            value_of(metric, written_out)
        )


def test_what_no_unit_speaks_of_is_undefined():
    negatives = units([0, 0], [0.1, 0.2])
    assert np.isnan(binary.is_found(1)(negatives)).all()
    assert np.isnan(binary.is_rightly_called(1)(negatives)).all()
    assert binary.is_spared(1)(negatives).tolist() == [1, 1]
    assert np.isnan(value_of(binary.average_precision(1), negatives))
    assert np.isnan(value_of(binary.balanced_accuracy(1), negatives))
    assert binary.count_of(1)(negatives) == 1, "it is divided by"
