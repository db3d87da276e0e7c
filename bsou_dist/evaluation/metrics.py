"""Metrics as functions of weighted units, so that one definition serves the value and its
bootstrap.

A unit is a clip or an exam. Every metric takes ``Scored`` units (n of them) and ``weights`` of
shape (R, n), how often each unit counts in each of R resamples, and returns (R,) values; NaN where
a resample leaves it undefined. The value on the data themselves is the metric at weights of one
(``value_of``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Z_95 = 1.959963984540054
"""97.5 % point of the standard normal distribution."""


@dataclass(frozen=True)
class Scored:
    """n units with label and prediction (class indices, or values in the task's unit), none of them
    missing.

    ``probabilities`` is (n, K) for a classification; ``variance`` is (n,), in unit squared, for a
    regression.
    """

    label: np.ndarray
    prediction: np.ndarray
    probabilities: np.ndarray | None = None
    variance: np.ndarray | None = None


Metric = Callable[[Scored, np.ndarray], np.ndarray]


def value_of(metric: Metric, scored: Scored) -> float:
    """The metric of the units as they are."""
    return float(metric(scored, np.ones((1, len(scored.label))))[0])


def accuracy(scored: Scored, weights: np.ndarray) -> np.ndarray:
    """Share of units whose predicted class is right."""
    return _mean(scored.label == scored.prediction, weights)


def macro_f1(scored: Scored, weights: np.ndarray) -> np.ndarray:
    """Unweighted mean of F1 over the classes that occur among the labels (of the resample)."""
    total, count = np.zeros(len(weights)), np.zeros(len(weights))
    for index in np.unique(scored.label):
        truly, said = scored.label == index, scored.prediction == index
        positives = weights @ truly
        occurs = positives > 0
        f1 = _divide(2 * (weights @ (truly & said)), positives + weights @ said)
        total += np.where(occurs, f1, 0.0)
        count += occurs
    return _divide(total, count)


def auc(scored: Scored, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve: of class 1 for two classes, else the mean of one class against the
    rest.

    The mean is over classes that occur, as does at least one unit of another class; ties count one
    half.
    """
    assert scored.probabilities is not None
    classes = (
        [1] if scored.probabilities.shape[1] == 2 else list(range(scored.probabilities.shape[1]))
    )
    each = np.stack(
        [
            _binary_auc(scored.label == index, scored.probabilities[:, index], weights)
            for index in classes
        ]
    )
    defined = ~np.isnan(each)
    return _divide(np.where(defined, each, 0.0).sum(axis=0), defined.sum(axis=0))


def mae(scored: Scored, weights: np.ndarray) -> np.ndarray:
    """Mean absolute error, in the task's unit."""
    return _mean(np.abs(_error(scored)), weights)


def abs_error_std(scored: Scored, weights: np.ndarray) -> np.ndarray:
    """Standard deviation of the absolute error, in the task's unit: the figure after the slash in
    the paper's tables.

    It divides by the number of units, not by one less.
    """
    absolute = np.abs(_error(scored))
    return np.sqrt(np.maximum(_mean(absolute**2, weights) - _mean(absolute, weights) ** 2, 0.0))


def bias(scored: Scored, weights: np.ndarray) -> np.ndarray:
    """Mean signed error (prediction minus label), in the task's unit."""
    return _mean(_error(scored), weights)


def error_std(scored: Scored, weights: np.ndarray) -> np.ndarray:
    """Standard deviation of the signed error, in the task's unit, dividing by the number of
    units.
    """
    error = _error(scored)
    return np.sqrt(np.maximum(_mean(error**2, weights) - _mean(error, weights) ** 2, 0.0))


def within(limit: float) -> Metric:
    """Share of units whose absolute error is at most ``limit``, in the task's unit."""

    def share(scored: Scored, weights: np.ndarray) -> np.ndarray:
        return _mean(np.abs(_error(scored)) <= limit, weights)

    return share


def coverage_95(scored: Scored, weights: np.ndarray) -> np.ndarray:
    """Share of units whose label lies in the predicted 95 % interval, mean +- 1.96 standard
    deviations.
    """
    assert scored.variance is not None
    return _mean(np.abs(_error(scored)) <= Z_95 * np.sqrt(scored.variance), weights)


def confusion_matrix(label: np.ndarray, prediction: np.ndarray, classes: int) -> np.ndarray:
    """Counts, int64 (classes, classes): rows are labels, columns predictions."""
    matrix = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(matrix, (label.astype(int), prediction.astype(int)), 1)
    return matrix


def _binary_auc(positive: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted Mann-Whitney statistic: units in order of score, those of one score taken
    together.
    """
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf) > 0)
    ordered, truly = weights[:, order], positive[order]
    positives = np.add.reduceat(ordered * truly, starts, axis=1)
    negatives = np.add.reduceat(ordered * ~truly, starts, axis=1)
    below = np.cumsum(negatives, axis=1) - negatives
    wins = (positives * (below + 0.5 * negatives)).sum(axis=1)
    return _divide(wins, positives.sum(axis=1) * negatives.sum(axis=1))


def _error(scored: Scored) -> np.ndarray:
    return scored.prediction - scored.label


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return _divide(weights @ values, weights.sum(axis=1))


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(
        numerator, denominator, out=np.full(len(numerator), np.nan), where=denominator > 0
    )
