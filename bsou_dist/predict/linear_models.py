"""Linear models with a ridge penalty, for classes and for numbers.

Features are standardised on the rows that a model is fitted to; a missing one (NaN) counts as the
mean. The penalty is chosen by how well the model predicts other rows; an infinite one, of which
nothing but a constant is left, is among those tried, so that features without any use do no harm.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

Float = NDArray[np.float64]

PENALTIES = (1.0, 10.0, 100.0, 1e3, 1e4, math.inf)
"""Of the sum of squared weights of standardised features, against the sum of losses of the rows."""


class LinearModel(Protocol):
    """A fitted model."""

    def loss(self, features: Float, labels: Float) -> float:
        """Mean loss on other rows."""


Model = TypeVar("Model", bound=LinearModel)


@dataclass(frozen=True)
class Standard:
    """Features brought to mean 0 and deviation 1 by those of the rows that are fitted."""

    mean: Float
    deviation: Float

    @classmethod
    def of(cls, features: Float) -> Standard:
        """From features (n, C); one that is always missing, or the same, becomes 0."""
        known = ~np.isnan(features)
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, features, 0.0).sum(axis=0) / count
        squares = np.where(known, features - mean, 0.0) ** 2
        deviation = np.sqrt(squares.sum(axis=0) / count)
        return cls(mean, deviation)

    def __call__(self, features: Float) -> Float:
        """Standardised features, (n, C)."""
        usable = self.deviation > 1e-9 * (1.0 + np.abs(self.mean))
        scale = np.where(usable, self.deviation, 1.0)
        standardised = np.where(usable, (features - self.mean) / scale, 0.0)
        return np.nan_to_num(standardised)


@dataclass(frozen=True)
class NumberModel:
    """Ridge regression; with an infinite penalty the median."""

    standard: Standard
    weights: Float
    """(C,)"""
    constant: float
    variance: float
    """Of the errors on the rows that it was fitted to."""

    @classmethod
    def fit(cls, features: Float, labels: Float, penalty: float) -> NumberModel:
        """Fit to features (n, C) and labels (n,)."""
        standard = Standard.of(features)
        weights: Float
        if math.isinf(penalty):
            weights = np.zeros(features.shape[1], dtype=np.float64)
            constant = float(np.median(labels))
        else:
            rows = standard(features)
            constant = float(labels.mean())
            moments = rows.T @ rows + penalty * np.eye(rows.shape[1])
            weights = np.linalg.solve(moments, rows.T @ (labels - constant)).astype(np.float64)
        model = cls(standard, weights, constant, 1.0)
        errors = labels - model.predict(features)
        return cls(standard, weights, constant, max(float((errors**2).mean()), 1e-12))

    def predict(self, features: Float) -> Float:
        """Numbers (n,)."""
        return self.standard(features) @ self.weights + self.constant

    def loss(self, features: Float, labels: Float) -> float:
        """Mean absolute error."""
        return float(np.abs(labels - self.predict(features)).mean())


@dataclass(frozen=True)
class ClassModel:
    """Multinomial logistic regression; with an infinite penalty the shares of the classes."""

    standard: Standard
    weights: Float
    """(C, K)"""
    constants: Float
    """(K,)"""

    @classmethod
    def fit(cls, features: Float, labels: Float, penalty: float, classes: int) -> ClassModel:
        """Fit to features (n, C) and labels (n,), 0 .. classes-1."""
        standard = Standard.of(features)
        counts = np.bincount(labels.astype(int), minlength=classes)
        shares = np.log((counts + 0.5) / (counts.sum() + 0.5 * classes))
        width = features.shape[1]
        if math.isinf(penalty):
            return cls(standard, np.zeros((width, classes)), shares)
        rows = standard(features)
        is_class = np.eye(classes)[labels.astype(int)]

        def loss_and_slope(flat: Float) -> tuple[float, Float]:
            weights, constants = flat[:-classes].reshape(width, classes), flat[-classes:]
            log_shares = log_softmax(rows @ weights + constants, axis=1)
            excess = np.exp(log_shares) - is_class
            loss = -(log_shares * is_class).sum() + penalty / 2 * (weights**2).sum()
            slope = rows.T @ excess + penalty * weights
            return loss, np.concatenate([slope.ravel(), excess.sum(axis=0)])

        start = np.concatenate([np.zeros(width * classes), shares])
        found = minimize(
            loss_and_slope, start, jac=True, method="L-BFGS-B", options={"maxiter": 500}
        ).x
        return cls(standard, found[:-classes].reshape(width, classes), found[-classes:])

    def predict(self, features: Float) -> Float:
        """Probabilities (n, K)."""
        return np.exp(self._log_shares(features))

    def loss(self, features: Float, labels: Float) -> float:
        """Mean cross-entropy."""
        log_shares = self._log_shares(features)
        return float(-log_shares[np.arange(len(labels)), labels.astype(int)].mean())

    def _log_shares(self, features: Float) -> Float:
        found: Float = log_softmax(self.standard(features) @ self.weights + self.constants, axis=1)
        return found


def fit_best(
    fit: Callable[[Float, Float, float], Model],
    features: Float,
    labels: Float,
    other_features: Float,
    other_labels: Float,
) -> Model:
    """The model of the penalty that predicts other rows best; the strongest of equal ones."""
    models = [fit(features, labels, penalty) for penalty in reversed(PENALTIES)]
    losses = [model.loss(other_features, other_labels) for model in models]
    return models[int(np.argmin(losses))]
