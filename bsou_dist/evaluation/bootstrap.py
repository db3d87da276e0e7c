"""Intervals: bootstrap over patients, and exact ones for accuracy.

Clips and exams of one patient are not independent, so whole patients are drawn with replacement.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import betaincinv

from bsou_dist.evaluation.metrics import Metric, Scored, value_of

_MAX_WEIGHTS = 4_000_000
"""Resamples are worked through in blocks of at most this many weights (32 MB)."""


class Interval(NamedTuple):
    """A value with its 95 % interval and the number of units and patients that it rests on."""

    value: float
    low: float
    high: float
    n: int
    n_patients: int
    kind: str  # 'exact' or 'bootstrap'


def bootstrap_interval(
    metric: Metric, scored: Scored, patients: np.ndarray, *, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Percentile interval of a metric. ``patients`` (n,) names each unit's patient."""
    draws = [metric(scored, weights) for weights in _resample(patients, resamples, seed)]
    return _interval(value_of(metric, scored), draws, patients)


def bootstrap_difference(
    metric: Metric,
    first: Scored,
    second: Scored,
    patients: np.ndarray,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile interval of ``metric(first) - metric(second)``, paired.

    Both are of the same units and on the same resamples; ``patients`` (n,) names each unit's
    patient.
    """
    draws = [
        metric(first, weights) - metric(second, weights)
        for weights in _resample(patients, resamples, seed)
    ]
    difference = value_of(metric, first) - value_of(metric, second)
    return _interval(difference, draws, patients)


def accuracy_interval(
    metric: Metric, scored: Scored, patients: np.ndarray, *, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Exact (Clopper-Pearson) interval of a share where it holds, else the bootstrap over patients.

    It holds where each patient contributes one unit. Where every unit is right, or every one wrong,
    resampling can show no spread; then the exact interval for as many patients stands in, which is
    the wider one.
    """
    interval = bootstrap_interval(metric, scored, patients, resamples=resamples, seed=seed)
    has_one_unit_each = interval.n == interval.n_patients
    if not has_one_unit_each and interval.value not in (0.0, 1.0):
        return interval
    right = round(interval.value * interval.n_patients)
    low, high = clopper_pearson(right, interval.n_patients)
    return interval._replace(low=low, high=high, kind="exact")


def clopper_pearson(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Exact binomial interval (Clopper and Pearson 1934)."""
    tail = (1 - level) / 2
    low, high = 0.0, 1.0
    # Quantiles of beta distributions; `scipy.stats` would take a second to import.
    if successes > 0:
        low = betaincinv(successes, trials - successes + 1, tail)
    if successes < trials:
        high = betaincinv(successes + 1, trials - successes, 1 - tail)
    return float(low), float(high)


def _resample(patients: np.ndarray, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Blocks of weights (rows, n): how often each unit's patient was drawn.

    What is drawn depends on the set of patients and the seed only, not on the order of the units.
    """
    names, patient_of_unit = np.unique(patients.astype(str), return_inverse=True)
    equal_chances = np.full(len(names), 1 / len(names))
    rng = np.random.default_rng(seed)
    block_rows = max(1, _MAX_WEIGHTS // len(patients))
    for start in range(0, resamples, block_rows):
        rows = min(block_rows, resamples - start)
        drawn = rng.multinomial(len(names), equal_chances, size=rows)
        yield drawn[:, patient_of_unit].astype(float)


def _interval(value: float, draws: Sequence[np.ndarray], patients: np.ndarray) -> Interval:
    """The value with the middle 95 % of the draws; NaN where none of them is defined."""
    values = np.concatenate(draws)
    defined = values[~np.isnan(values)]
    low, high = np.percentile(defined, [2.5, 97.5]) if len(defined) else (np.nan, np.nan)
    return Interval(
        value=value,
        low=float(low),
        high=float(high),
        n=len(patients),
        n_patients=len(np.unique(patients.astype(str))),
        kind="bootstrap",
    )
