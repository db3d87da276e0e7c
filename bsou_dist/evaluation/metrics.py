"""What is measured of each unit, and metrics that are no mean over units.

A unit is a clip or an exam. A function of ``Scored`` units (n of them) gives (n,) numbers, of
which `figures` takes means, shares and deviations. A ``Metric`` takes ``weights`` of shape (R, n)
too, how often each unit counts in each of R variants of the data, and returns (R,) values; NaN
where a variant leaves it undefined. The value on the data themselves is the metric at weights of
one (``value_of``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

EVEN_THRESHOLD = 0.5
"""The threshold of who has no validation units to fix one by: the more probable class."""


@dataclass(frozen=True)
class Scored:
    """Units with a label and a prediction, none of them missing.

    Attributes:
        label: (n,), class indices, or values in the task's unit.
        prediction: (n,), as the labels.
        probabilities: (n, K), for a classification into K classes.
        variance: (n,), in unit squared, for a regression.
        df: (n,), degrees of freedom of the variance, for a regression; infinite where nothing is
            known of them.
        threshold: probability at and above which a unit is called positive, fixed without these
            units, for a classification into two classes.
    """

    label: np.ndarray
    prediction: np.ndarray
    probabilities: np.ndarray | None = None
    variance: np.ndarray | None = None
    df: np.ndarray | None = None
    threshold: float = EVEN_THRESHOLD

    def where(self, members: np.ndarray) -> Scored:
        """Those units for which `members`, bool (n,), holds."""

        def part(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[members]

        return Scored(
            label=self.label[members],
            prediction=self.prediction[members],
            probabilities=part(self.probabilities),
            variance=part(self.variance),
            df=part(self.df),
            threshold=self.threshold,
        )


Metric = Callable[[Scored, np.ndarray], np.ndarray]


def value_of(metric: Metric, scored: Scored) -> float:
    """The metric of the units as they are."""
    each_once = np.ones((1, len(scored.label)))
    return float(metric(scored, each_once)[0])


def is_right(scored: Scored) -> np.ndarray:
    """Whether the predicted class is the label."""
    return scored.label == scored.prediction


def error(scored: Scored) -> np.ndarray:
    """Signed error (prediction minus label), in the task's unit."""
    return scored.prediction - scored.label


def absolute_error(scored: Scored) -> np.ndarray:
    """Absolute error, in the task's unit."""
    return np.abs(error(scored))


def is_within(limit: float) -> Callable[[Scored], np.ndarray]:
    """Whether the absolute error is at most ``limit``, in the task's unit."""

    def holds(scored: Scored) -> np.ndarray:
        return absolute_error(scored) <= limit

    return holds


def is_covered(scored: Scored) -> np.ndarray:
    """Whether the label lies in the predicted 95 % interval, Student's with the unit's `df`."""
    assert scored.variance is not None
    assert scored.df is not None
    # An infinite number of degrees of freedom is asked for as the largest that has a quantile.
    quantile = stdtrit(np.minimum(scored.df, 1e12), 0.975)
    return absolute_error(scored) <= quantile * np.sqrt(scored.variance)


def macro_f1(scored: Scored, weights: np.ndarray) -> np.ndarray:
    """Unweighted mean of F1 over the classes that occur among the labels (of the variant)."""
    total = np.zeros(len(weights))
    classes = np.zeros(len(weights))
    for index in np.unique(scored.label):
        is_labelled = scored.label == index
        is_predicted = scored.prediction == index
        labelled = weights @ is_labelled
        hits = weights @ (is_labelled & is_predicted)
        f1 = divide(2 * hits, labelled + weights @ is_predicted)
        occurs = labelled > 0
        total += np.where(occurs, f1, 0.0)
        classes += occurs
    return divide(total, classes)


def macro_f1_independent_n(scored: Scored) -> float:
    """Number of units that macro-F1 is worth as a share: K squared over the sum of 1 / n per class.

    It is the mean of K classes' figures, each as uncertain as a share of its own n labelled units.
    """
    counts = np.unique(scored.label, return_counts=True)[1]
    return float(len(counts) ** 2 / (1 / counts).sum())


def confusion_matrix(label: np.ndarray, prediction: np.ndarray, classes: int) -> np.ndarray:
    """Counts, int64 (classes, classes): rows are labels, columns predictions."""
    matrix = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(matrix, (label.astype(int), prediction.astype(int)), 1)
    return matrix


def divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotients (R,), NaN where the denominator is not above 0."""
    quotient = np.full(len(numerator), np.nan)
    return np.divide(numerator, denominator, out=quotient, where=denominator > 0)
