"""Two classes, one of them positive: what a threshold, a ranking and the classes' shares say.

A unit is called positive where its probability is at or above the threshold that it is `Scored`
with. Shares are given by whether something holds of each unit, (n,), NaN for units that don't
count; other metrics take weights of shape (R, n), as in `metrics`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bsou_dist.evaluation.figures import UnitValues
from bsou_dist.evaluation.metrics import Metric, Scored, divide


def youden_threshold(positive: np.ndarray, score: np.ndarray) -> float | None:
    """Threshold with the highest sensitivity + specificity - 1 (Youden 1950).

    Of several that are equally good it is the lowest, which finds the most positives.

    Args:
        positive: bool (n,), whether a unit is positive.
        score: (n,), its probability of being so.

    Returns:
        A number halfway between two scores, or 0 for calling every unit positive; None where one
        of the classes is absent.
    """
    cuts, sensitivity, specificity = _curve(positive, score)
    if not len(cuts):
        return None
    # Rounding would part equally good thresholds.
    return float(cuts[np.argmax(np.round(sensitivity + specificity, 12))])


def threshold_of_sensitivity(
    positive: np.ndarray, score: np.ndarray, wanted: float
) -> float | None:
    """Highest threshold whose sensitivity is at least `wanted`; arguments as `youden_threshold`."""
    cuts, sensitivity, _ = _curve(positive, score)
    if not len(cuts):
        return None
    # The lowest cut, 0, has sensitivity 1.
    return float(cuts[np.flatnonzero(sensitivity >= wanted - 1e-12)[-1]])


def _curve(positive: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rising cuts with the sensitivity and specificity of each; empty where a class is absent."""
    if positive.all() or not positive.any():
        return np.array([]), np.array([]), np.array([])
    distinct = np.unique(score)
    cuts = np.concatenate([[0.0], (distinct[1:] + distinct[:-1]) / 2])
    called_negative_positives = np.searchsorted(np.sort(score[positive]), cuts)
    called_negative_negatives = np.searchsorted(np.sort(score[~positive]), cuts)
    sensitivity = 1 - called_negative_positives / positive.sum()
    specificity = called_negative_negatives / (~positive).sum()
    return cuts, sensitivity, specificity


def is_found(positive: int) -> UnitValues:
    """Whether each positive unit is called so; NaN for negative ones. Its mean is sensitivity."""

    def holds(scored: Scored) -> np.ndarray:
        is_positive, is_called = _truth_and_call(scored, positive)
        return np.where(is_positive, is_called, np.nan)

    return holds


def is_spared(positive: int) -> UnitValues:
    """Whether each negative unit is called so; NaN for positive ones. Its mean is specificity."""

    def holds(scored: Scored) -> np.ndarray:
        is_positive, is_called = _truth_and_call(scored, positive)
        return np.where(~is_positive, ~is_called, np.nan)

    return holds


def is_rightly_called(positive: int) -> UnitValues:
    """Whether each unit that is called positive is so; NaN for the others.

    Its mean is the positive predictive value.
    """

    def holds(scored: Scored) -> np.ndarray:
        is_positive, is_called = _truth_and_call(scored, positive)
        return np.where(is_called, is_positive, np.nan)

    return holds


def is_rightly_spared(positive: int) -> UnitValues:
    """Whether each unit that is called negative is so; NaN for the others.

    Its mean is the negative predictive value.
    """

    def holds(scored: Scored) -> np.ndarray:
        is_positive, is_called = _truth_and_call(scored, positive)
        return np.where(~is_called, ~is_positive, np.nan)

    return holds


def balanced_accuracy(positive: int) -> Metric:
    """Mean of sensitivity and specificity; one half is chance, whatever the classes' shares."""

    def mean(scored: Scored, weights: np.ndarray) -> np.ndarray:
        is_positive, is_called = _truth_and_call(scored, positive)
        found = divide(weights @ (is_positive & is_called), weights @ is_positive)
        spared = divide(weights @ ~(is_positive | is_called), weights @ ~is_positive)
        return (found + spared) / 2

    return mean


def count_of(positive: int) -> Callable[[Scored], float]:
    """Number of positive units, at least 1: so many an average precision rests on."""

    def count(scored: Scored) -> float:
        return max(1.0, float((scored.label == positive).sum()))

    return count


def average_precision(positive: int) -> Metric:
    """Area under the steps of the precision-recall curve; the share of positives is chance.

    The sum over falling thresholds of precision times the gain in recall, units of one score
    together: no interpolation, as in scikit-learn's `average_precision_score`.
    """

    def area(scored: Scored, weights: np.ndarray) -> np.ndarray:
        score = positive_score(scored, positive)
        order = np.argsort(-score, kind="stable")
        starts = np.flatnonzero(np.diff(-score[order], prepend=-np.inf) > 0)
        ordered_weights = weights[:, order]
        is_positive = (scored.label == positive)[order]
        hits = np.add.reduceat(ordered_weights * is_positive, starts, axis=1)
        called = np.add.reduceat(ordered_weights, starts, axis=1)
        all_called = np.cumsum(called, axis=1)
        precision = np.cumsum(hits, axis=1) / np.maximum(all_called, np.finfo(float).tiny)
        return divide((precision * hits).sum(axis=1), hits.sum(axis=1))

    return area


def positive_score(scored: Scored, positive: int) -> np.ndarray:
    """Probability of the positive class, (n,)."""
    assert scored.probabilities is not None
    return scored.probabilities[:, positive]


def _truth_and_call(scored: Scored, positive: int) -> tuple[np.ndarray, np.ndarray]:
    return scored.label == positive, positive_score(scored, positive) >= scored.threshold
