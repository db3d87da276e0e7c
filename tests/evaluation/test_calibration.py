from __future__ import annotations

import numpy as np
import pytest
import sklearn.linear_model
import sklearn.metrics

from bsou_dist.evaluation import calibration
from bsou_dist.evaluation.intervals import Interval, interval_of
from bsou_dist.evaluation.metrics import Scored


def two_classes(log_odds: np.ndarray, outcome: np.ndarray) -> Scored:
    probability = 1 / (1 + np.exp(-log_odds))
    return Scored(
        outcome.astype(float),
        (probability > 0.5).astype(float),
        np.column_stack([1 - probability, probability]),
    )


def of_patients(figure: calibration.Slope | calibration.Intercept, scored: Scored) -> Interval:
    """The figure where each unit is a patient's only one."""
    return interval_of(figure, [scored], np.arange(len(scored.label)))


def drawn(slope: float, shift: float, count: int = 300) -> Scored:
    """Outcomes whose true log-odds are `shift` + `slope` times those predicted."""
    rng = np.random.default_rng(3)
    log_odds = rng.normal(size=count) * 2
    truth = 1 / (1 + np.exp(-(shift + slope * log_odds)))
    return two_classes(log_odds, rng.uniform(size=count) < truth)


def test_the_brier_score_against_sklearn():
    scored = drawn(1, 0)
    expected = sklearn.metrics.brier_score_loss(scored.label, scored.probabilities[:, 1])
    assert calibration.brier(1)(scored).mean() == pytest.approx(expected)
    assert calibration.brier(0)(scored).mean() == pytest.approx(expected)
    assert calibration.brier(None)(scored).mean() == pytest.approx(2 * expected)


@pytest.mark.parametrize(("slope", "shift"), [(1, 0), (0.4, 0), (1.5, -1)])
def test_the_slope_is_that_of_a_logistic_regression(slope, shift):
    scored = drawn(slope, shift)
    log_odds = np.log(scored.probabilities[:, 1] / scored.probabilities[:, 0])
    model = sklearn.linear_model.LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    model.fit(log_odds[:, None], scored.label)
    found = of_patients(calibration.Slope(1), scored).value
    assert found == pytest.approx(model.coef_[0, 0], rel=1e-5)
    # The same question of the other class has the same answer.
    assert of_patients(calibration.Slope(0), scored).value == pytest.approx(found, rel=1e-6)


def test_the_intercept_makes_the_mean_right():
    scored = drawn(1, -1)
    shift = of_patients(calibration.Intercept(1), scored).value
    log_odds = np.log(scored.probabilities[:, 1] / scored.probabilities[:, 0])
    mean = (1 / (1 + np.exp(-(shift + log_odds)))).mean()
    assert mean == pytest.approx(scored.label.mean(), abs=1e-9)
    assert -1.5 < shift < -0.5


def test_the_interval_is_that_of_the_information():
    """With many independent units the sandwich is the inverse information."""
    slope = 0.7
    scored = drawn(slope, 0.3, count=4000)
    log_odds = np.log(scored.probabilities[:, 1] / scored.probabilities[:, 0])
    design = np.column_stack([np.ones(4000), log_odds])
    expected = 1 / (1 + np.exp(-(0.3 + slope * log_odds)))
    information = design.T @ (design * (expected * (1 - expected))[:, None])
    standard_error = np.sqrt(np.linalg.inv(information)[1, 1])
    found = of_patients(calibration.Slope(1), scored)
    assert found.high - found.low == pytest.approx(2 * 1.96 * standard_error, rel=0.05)
    assert found.low < slope < found.high


def test_copies_of_a_patients_units_add_nothing():
    scored = drawn(1, 0, count=80)
    twice = np.repeat(np.arange(80), 2)
    doubled = Scored(scored.label[twice], scored.prediction[twice], scored.probabilities[twice])
    for figure in (calibration.Slope(1), calibration.Intercept(1)):
        once = of_patients(figure, scored)
        both = interval_of(figure, [doubled], twice)
        assert both[:3] == pytest.approx(once[:3], rel=1e-6)


def test_what_shows_no_slope_has_none():
    log_odds = np.linspace(-2, 2, 40)
    separated = two_classes(log_odds, log_odds > 0)
    constant = two_classes(np.full(40, 0.3), np.arange(40) % 2 == 0)
    too_few = two_classes(log_odds, np.arange(40) % 5 == 0)
    for scored in (separated, constant, too_few):
        assert np.isnan(of_patients(calibration.Slope(1), scored).value)
    assert np.isnan(of_patients(calibration.Intercept(1), too_few).value)
    assert of_patients(calibration.Intercept(1), constant).value == pytest.approx(-0.3)


def test_a_curve_has_groups_of_equal_size():
    probability = np.linspace(0, 1, 45)
    points = calibration.calibration_curve(probability > 0.5, probability)
    assert [point.n for point in points] == [12, 11, 11, 11]
    assert [point.predicted for point in points] == sorted(point.predicted for point in points)
    assert points[0].observed == 0
    assert points[-1].observed == 1
    assert points[0].predicted == pytest.approx(probability[:12].mean())


def test_few_units_are_one_group():
    [point] = calibration.calibration_curve(np.array([True, False]), np.array([0.2, 0.4]))
    assert point == pytest.approx((0.3, 0.5, 2))
