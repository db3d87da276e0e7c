"""Whether probabilities of classes mean what they say.

Slope and intercept are those of logistic recalibration (Cox 1958; Van Calster et al. 2016,
*J Clin Epidemiol* 74:167): the label is regressed on the log-odds that were predicted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bsou_dist.evaluation.binary import positive_score
from bsou_dist.evaluation.estimates import Clusters, Estimate, mean_cluster_size
from bsou_dist.evaluation.figures import UnitValues, too_few
from bsou_dist.evaluation.metrics import Scored
from bsou_dist.evaluation.scales import PlainScale

MIN_OF_CLASS = 10
"""Fewer units than that in either class can't show a slope: it is not estimable."""
_NEAREST_TO_CERTAIN = 1e-6
"""Probabilities are taken as no nearer to 0 and 1 than that, where log-odds are infinite."""
_NEWTON_STEPS = 30
_CONVERGED = 1e-8
_HALVINGS = 60
_WORST_CONDITION = 1e12
_STEEPEST = 50.0
"""A slope or an intercept beyond that runs away: the classes are separated."""


def brier(positive: int | None) -> UnitValues:
    """Squared error of each unit's probabilities (Brier 1950); lower is better.

    With two classes that of the `positive` one, from 0 to 1; with more (`positive` None) the sum
    over all classes, from 0 to 2.
    """

    def values(scored: Scored) -> np.ndarray:
        assert scored.probabilities is not None
        class_count = scored.probabilities.shape[1]
        truth = scored.label[:, None] == np.arange(class_count)
        squared = (scored.probabilities - truth) ** 2
        return squared.sum(axis=1) if positive is None else squared[:, positive]

    return values


@dataclass(frozen=True)
class Slope:
    """Slope of the label's log-odds on the predicted ones, by logistic regression.

    One is right; below it, predictions are too extreme. NaN where it is not estimable: classes that
    the prediction separates, a constant prediction, fewer than `MIN_OF_CLASS` of either class. The
    influence of patients is that of the sandwich variance of clustered units.
    """

    positive: int

    def estimate(self, scored: Scored, clusters: Clusters) -> Estimate:
        """See `Figure.estimate`."""
        outcome, log_odds = _outcome_and_log_odds(scored, self.positive)
        if not _has_both(outcome):
            return _estimate(np.nan, np.zeros(len(outcome)), clusters)
        fitted = _fit_line(outcome, log_odds)
        if fitted is None:
            return _estimate(np.nan, np.zeros(len(outcome)), clusters)
        design = np.column_stack([np.ones(len(log_odds)), log_odds])
        expected = _logistic(design @ fitted)
        information = design.T @ (design * (expected * (1 - expected))[:, None])
        moves = (design * (outcome - expected)[:, None]) @ np.linalg.inv(information)
        return _estimate(float(fitted[1]), moves[:, 1], clusters)


@dataclass(frozen=True)
class Intercept:
    """Shift of the predicted log-odds that makes their mean right (calibration in the large).

    Zero is right; above it, positives are more frequent than predicted. NaN with fewer than
    `MIN_OF_CLASS` of either class.
    """

    positive: int

    def estimate(self, scored: Scored, clusters: Clusters) -> Estimate:
        """See `Figure.estimate`."""
        outcome, log_odds = _outcome_and_log_odds(scored, self.positive)
        if not _has_both(outcome):
            return _estimate(np.nan, np.zeros(len(outcome)), clusters)
        shift = _fit_shift(outcome, log_odds)
        expected = _logistic(shift + log_odds)
        moves = (outcome - expected) / (expected * (1 - expected)).sum()
        return _estimate(shift, moves, clusters)


def _estimate(value: float, moves: np.ndarray, clusters: Clusters) -> Estimate:
    """A figure with what each unit moves it by, (n,), summed by patient."""
    problem = too_few(clusters.count)
    if np.isnan(value):
        problem = "it is undefined"
    return Estimate(
        value=value,
        influence=clusters.sums(moves) * np.sqrt(clusters.count / max(1, clusters.count - 1)),
        scale=PlainScale(),
        n=len(moves),
        n_patients=clusters.count,
        df_patients=max(1.0, clusters.count - 1.0),
        cluster_size=mean_cluster_size(clusters.sizes),
        problem=problem,
    )


class CurvePoint(NamedTuple):
    """A group of units of similar probability."""

    predicted: float
    """Mean probability."""
    observed: float
    """Share that are of the class."""
    n: int


def calibration_curve(
    outcome: np.ndarray, probability: np.ndarray, groups: int = 10
) -> list[CurvePoint]:
    """Predicted against observed shares in groups of rising probability and equal size.

    Args:
        outcome: bool (n,).
        probability: (n,) of the outcome.
        groups: at most so many, and none of fewer than `MIN_OF_CLASS` units where there are so
            many; units of one probability may fall into two groups.
    """
    groups = max(1, min(groups, len(outcome) // MIN_OF_CLASS))
    order = np.argsort(probability, kind="stable")
    points = []
    for members in np.array_split(order, groups):
        predicted = float(probability[members].mean())
        observed = float(outcome[members].mean())
        points.append(CurvePoint(predicted, observed, len(members)))
    return points


def _outcome_and_log_odds(scored: Scored, positive: int) -> tuple[np.ndarray, np.ndarray]:
    probability = positive_score(scored, positive)
    probability = np.clip(probability, _NEAREST_TO_CERTAIN, 1 - _NEAREST_TO_CERTAIN)
    return (scored.label == positive).astype(float), np.log(probability / (1 - probability))


def _has_both(outcome: np.ndarray) -> bool:
    positives = outcome.sum()
    return bool(min(positives, len(outcome) - positives) >= MIN_OF_CLASS)


def _fit_line(outcome: np.ndarray, log_odds: np.ndarray) -> np.ndarray | None:
    """Intercept and slope of a logistic regression, by Newton's method; None where it diverges."""
    if np.ptp(log_odds) == 0:
        return None
    design = np.column_stack([np.ones(len(log_odds)), log_odds])
    coefficients = np.zeros(2)
    for _ in range(_NEWTON_STEPS):
        expected = _logistic(design @ coefficients)
        information = design.T @ (design * (expected * (1 - expected))[:, None])
        if np.linalg.cond(information) > _WORST_CONDITION:
            return None
        step = np.linalg.solve(information, design.T @ (outcome - expected))
        coefficients = coefficients + step
        if np.abs(coefficients).max() > _STEEPEST:
            return None
        if np.abs(step).max() < _CONVERGED:
            return coefficients
    return None


def _fit_shift(outcome: np.ndarray, log_odds: np.ndarray) -> float:
    """Shift at which the mean probability is that of the outcome, by halving."""
    low, high = -_STEEPEST, _STEEPEST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _logistic(middle + log_odds).sum() < outcome.sum():
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _logistic(values: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(values / 2))  # no overflow
