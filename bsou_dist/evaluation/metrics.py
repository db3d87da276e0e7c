"""Metrics as functions of weighted units: one definition serves the value and its bootstrap.

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
    """Units with a label and a prediction, none of them missing.

    Attributes:
        label: (n,), class indices, or values in the task's unit.
        prediction: (n,), as the labels.
        probabilities: (n, K), for a classification into K classes.
        variance: (n,), in unit squared, for a regression.
    """

    label: np.ndarray
    prediction: np.ndarray
    probabilities: np.ndarray | None = None
    variance: np.ndarray | None = None


Metric = Callable[[Scored, np.ndarray], np.ndarray]


def value_of(metric: Metric, scored: Scored) -> float:
    """The metric of the units as they are."""
    each_once = np.ones((1, len(scored.label)))
    return float(metric(scored, each_once)[0])


def accuracy(scored: Scored, weights: np.ndarray) -> np.ndarray:
    """Share of units whose predicted class is right."""
    return _mean(scored.label == scored.prediction, weights)


def macro_f1(scored: Scored, weights: np.ndarray) -> np.ndarray:
    """Unweighted mean of F1 over the classes that occur among the labels (of the resample)."""
    total = np.zeros(len(weights))
    classes = np.zeros(len(weights))
    for index in np.unique(scored.label):
        is_labelled = scored.label == index
        is_predicted = scored.prediction == index
        labelled = weights @ is_labelled
        hits = weights @ (is_labelled & is_predicted)
        f1 = _divide(2 * hits, labelled + weights @ is_predicted)
        occurs = labelled > 0
        total += np.where(occurs, f1, 0.0)
        classes += occurs
    return _divide(total, classes)


def auc(scored: Scored, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve, of class 1 if there are two, else the mean of one against the rest.

    The mean is over classes that occur, as does at least one unit of another class; ties count one
    half.
    """
    assert scored.probabilities is not None
    class_count = scored.probabilities.shape[1]
    classes = [1] if class_count == 2 else range(class_count)
    areas = [
        _binary_auc(scored.label == index, scored.probabilities[:, index], weights)
        for index in classes
    ]
    per_class = np.stack(areas)
    is_defined = ~np.isnan(per_class)
    total = np.where(is_defined, per_class, 0.0).sum(axis=0)
    return _divide(total, is_defined.sum(axis=0))


def mae(scored: Scored, weights: np.ndarray) -> np.ndarray:
    """Mean absolute error, in the task's unit."""
    return _mean(np.abs(_error(scored)), weights)


def abs_error_std(scored: Scored, weights: np.ndarray) -> np.ndarray:
    """Standard deviation of the absolute error, in the task's unit.

    It divides by the number of units, not by one less. It is the figure after the slash in the
    tables of *Improved Representation Learning with Multitasking in Blind Sweep Obstetric
    Ultrasound Videos*.
    """
    return _std(np.abs(_error(scored)), weights)


def bias(scored: Scored, weights: np.ndarray) -> np.ndarray:
    """Mean signed error (prediction minus label), in the task's unit."""
    return _mean(_error(scored), weights)


def error_std(scored: Scored, weights: np.ndarray) -> np.ndarray:
    """Standard deviation of the signed error, in the task's unit.

    It divides by the number of units, not by one less.
    """
    return _std(_error(scored), weights)


def within(limit: float) -> Metric:
    """Share of units whose absolute error is at most ``limit``, in the task's unit."""

    def share(scored: Scored, weights: np.ndarray) -> np.ndarray:
        return _mean(np.abs(_error(scored)) <= limit, weights)

    return share


def coverage_95(scored: Scored, weights: np.ndarray) -> np.ndarray:
    """Share of units whose label lies in the predicted 95 % interval, mean +- 1.96 deviations."""
    assert scored.variance is not None
    half_width = Z_95 * np.sqrt(scored.variance)
    return _mean(np.abs(_error(scored)) <= half_width, weights)


def confusion_matrix(label: np.ndarray, prediction: np.ndarray, classes: int) -> np.ndarray:
    """Counts, int64 (classes, classes): rows are labels, columns predictions."""
    matrix = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(matrix, (label.astype(int), prediction.astype(int)), 1)
    return matrix


def _binary_auc(positive: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted Mann-Whitney statistic: the share of pairs in which the positive unit scores higher.

    Pairs of one score count one half: units are taken in order of their score, those of one score
    together.
    """
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf) > 0)
    ordered_weights = weights[:, order]
    is_positive = positive[order]
    positives = np.add.reduceat(ordered_weights * is_positive, starts, axis=1)
    negatives = np.add.reduceat(ordered_weights * ~is_positive, starts, axis=1)
    negatives_below = np.cumsum(negatives, axis=1) - negatives
    wins = (positives * (negatives_below + 0.5 * negatives)).sum(axis=1)
    pairs = positives.sum(axis=1) * negatives.sum(axis=1)
    return _divide(wins, pairs)


def _error(scored: Scored) -> np.ndarray:
    return scored.prediction - scored.label


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return _divide(weights @ values, weights.sum(axis=1))


def _std(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    variance = _mean(values**2, weights) - _mean(values, weights) ** 2
    return np.sqrt(np.maximum(variance, 0.0))  # rounding may leave it below 0


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotients (R,), NaN where the denominator is not above 0."""
    quotient = np.full(len(numerator), np.nan)
    return np.divide(numerator, denominator, out=quotient, where=denominator > 0)
