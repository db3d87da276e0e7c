"""What gestational age alone says of a class: multinomial logistic regression on it.

Presentation turns cephalic towards term and multiples are born early, so that a model that has
learnt nothing but age does better than the majority. A method must beat this row too.
"""

from __future__ import annotations

import numpy as np

MIN_TRAINED = 10
"""So few units teach nothing of how a class goes with age."""
SLOPE_PENALTY = 1.0
"""Weight of the squared slopes, age in standard deviations: a weak prior that keeps slopes finite
where age separates the classes.
"""
_INTERCEPT_PENALTY = 1e-6  # makes unique what a softmax leaves free
_DECIMALS = 9
"""Beyond these the order of training rows shows, and would decide between equal classes."""
_NEWTON_STEPS = 100
_CONVERGED = 1e-9


def class_probabilities_by_age(
    train_days: np.ndarray, train_labels: np.ndarray, days: np.ndarray, class_count: int
) -> np.ndarray | None:
    """Fit class indices to ages and predict at other ages.

    Args:
        train_days: (m,) ages in days, NaN where unknown.
        train_labels: (m,) class indices.
        days: (n,) ages to predict at, NaN where unknown.
        class_count: K.

    Returns:
        Probabilities (n, K): where the age is unknown the classes' shares in training, and 0 for a
        class that training lacks. None where too few training units have an age.
    """
    is_known = ~np.isnan(train_days)
    if is_known.sum() < MIN_TRAINED or np.isnan(days).all():
        return None
    centre, spread = train_days[is_known].mean(), train_days[is_known].std()
    if spread == 0:
        return None
    present = np.unique(train_labels[is_known]).astype(int)
    outcome = train_labels[is_known][:, None] == present
    coefficients = _fit((train_days[is_known] - centre) / spread, outcome.astype(float))
    shares = np.bincount(train_labels.astype(int), minlength=class_count) / len(train_labels)
    probabilities = np.tile(shares, (len(days), 1))
    predicted = ~np.isnan(days)
    by_age = _softmax(_design((days[predicted] - centre) / spread) @ coefficients.T)
    probabilities[predicted] = 0.0
    probabilities[np.ix_(predicted, present)] = by_age
    return np.round(probabilities, _DECIMALS)


def _fit(age: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    """Coefficients (K, 2) of penalised maximum likelihood, by damped Newton steps."""
    design = _design(age)
    class_count = outcome.shape[1]
    penalty = np.tile([_INTERCEPT_PENALTY, SLOPE_PENALTY], class_count)
    coefficients = np.zeros(2 * class_count)

    def loss(candidate: np.ndarray) -> float:
        scores = design @ candidate.reshape(class_count, 2).T
        largest = scores.max(axis=1)
        log_sum = largest + np.log(np.exp(scores - largest[:, None]).sum(axis=1))
        likelihood = (outcome * scores).sum() - log_sum.sum()
        return float(0.5 * penalty @ candidate**2 - likelihood)

    for _ in range(_NEWTON_STEPS):
        probabilities = _softmax(design @ coefficients.reshape(class_count, 2).T)
        gradient = ((probabilities - outcome).T @ design).ravel() + penalty * coefficients
        hessian = np.diag(penalty)
        for one in range(class_count):
            for other in range(class_count):
                weight = probabilities[:, one] * ((one == other) - probabilities[:, other])
                block = design.T @ (design * weight[:, None])
                hessian[2 * one : 2 * one + 2, 2 * other : 2 * other + 2] += block
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while loss(coefficients - size * step) > loss(coefficients) and size > _CONVERGED:
            size /= 2
        coefficients = coefficients - size * step
        if np.abs(size * step).max() < _CONVERGED:
            break
    return coefficients.reshape(class_count, 2)


def _design(age: np.ndarray) -> np.ndarray:
    return np.column_stack([np.ones(len(age)), age])


def _softmax(scores: np.ndarray) -> np.ndarray:
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)
