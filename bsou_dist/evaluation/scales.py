"""The scale on which an interval is formed: plain, logarithmic, or by score as Wilson's.

All are 95 % intervals from an `Estimate`. What each holds for is measured by
benchmarks/coverage.py (docs/evaluation.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scipy.special import gammaincinv, stdtrit

from bsou_dist.evaluation.estimates import Estimate

TAIL = 0.025
Z_95 = 1.959963984540054
"""97.5 % point of the standard normal distribution."""
PRIOR_CORRELATION = 0.3
"""Correlation within patients that is assumed where the data are silent on it, as where every unit
is right."""
PRIOR_EVIDENCE = 2.0
"""That assumption weighs as much as this many units that inform on spread."""
_RARE = 3.0
"""Up to so many wrong (or right) units a share's interval is widened (Brown, Cai and DasGupta)."""
_BISECTIONS = 60


def t_quantile(df: float) -> float:
    """97.5 % point of Student's t distribution."""
    return Z_95 if math.isinf(df) else float(stdtrit(df, 1 - TAIL))


class PlainScale:
    """Student's interval: value +- t standard errors."""

    def bounds(self, estimate: Estimate) -> tuple[float, float]:
        """See `Scale.bounds`; where patients don't differ at all, NaN."""
        if estimate.variance == 0:
            return math.nan, math.nan
        half = t_quantile(estimate.df) * math.sqrt(estimate.variance)
        return estimate.value - half, estimate.value + half


@dataclass(frozen=True)
class LogScale:
    """Student's interval of the logarithm, for figures above 0 whose spread grows with them.

    `log_bias` is the jackknife's estimate of the logarithm's bias, which is taken off.
    """

    log_bias: float = 0.0

    def bounds(self, estimate: Estimate) -> tuple[float, float]:
        """See `Scale.bounds`; NaN for an estimate of 0, or where patients don't differ at all."""
        if estimate.value <= 0 or estimate.variance == 0:
            return math.nan, math.nan
        half = t_quantile(estimate.df) * math.sqrt(estimate.variance) / estimate.value
        centre = math.log(estimate.value) - self.log_bias
        return math.exp(centre - half), math.exp(centre + half)


@dataclass(frozen=True)
class ShareScale:
    """Wilson's interval for a share, at the number of independent units that it is worth.

    That number is `independent_n` over the design effect. With up to three wrong units (or right
    ones) the end beside them is that of Poisson counts, as Brown, Cai and DasGupta 2001 (section
    4.1.1) advise, since Wilson's interval holds too rarely there. The interval is never narrower
    than that of a perfect score: few errors can't tell how they cluster.
    """

    independent_n: float
    """Units (or for a mean of shares, its equal in units), were all of them independent."""

    def bounds(self, estimate: Estimate) -> tuple[float, float]:
        """See `Scale.bounds`."""
        nominal = estimate.value * (1 - estimate.value) / self.independent_n
        effect = design_effect(estimate, nominal)
        quantile = quantile_of(estimate)
        low, high = wilson(estimate.value, self.independent_n / effect, quantile)
        if estimate.cluster_size == 1:
            return low, high
        perfect_n = self.independent_n / prior_design_effect(estimate)
        least_width = quantile**2 / (perfect_n + quantile**2)
        if estimate.value >= 0.5:
            low = max(0.0, min(low, high - least_width))
        else:
            high = min(1.0, max(high, low + least_width))
        return low, high


@dataclass(frozen=True)
class AreaScale:
    """Score interval for an area under the ROC curve (Newcombe 2006, his method 5).

    It is to the area what Wilson's is to a share: the variance is taken at the candidate value, by
    Hanley and McNeil's formula, times the design effect. A perfect area has a lower end below 1.
    """

    counts: Sequence[tuple[int, int]]
    """Positive and negative units of each of the classes that the area is the mean over."""

    def variance_at(self, value: float) -> float:
        """Variance of independent units at a true value."""
        within_one = (1 - value) / (2 - value) + value / (1 + value)
        total = 0.0
        for positives, negatives in self.counts:
            others = (positives + negatives) / 2 - 1
            total += value * (1 - value) * (1 + others * within_one) / (positives * negatives)
        return total / len(self.counts) ** 2

    def bounds(self, estimate: Estimate) -> tuple[float, float]:
        """See `Scale.bounds`."""
        effect = design_effect(estimate, self.variance_at(estimate.value))
        squared = quantile_of(estimate, toward_student=1 / 2) ** 2 * effect

        def is_inside(candidate: float) -> bool:
            return (candidate - estimate.value) ** 2 <= squared * self.variance_at(candidate)

        return (
            _last_inside(is_inside, estimate.value, 0.0),
            _last_inside(is_inside, estimate.value, 1.0),
        )


def prior_design_effect(estimate: Estimate) -> float:
    """Design effect that is assumed where the data are silent (Kish 1965)."""
    return 1 + (estimate.cluster_size - 1) * PRIOR_CORRELATION


def design_effect(estimate: Estimate, nominal_variance: float) -> float:
    """How many times the variance of independent units an estimate has.

    The ratio found is weighed by the evidence for it against the one assumed. A share's is never
    below 1, and where each patient has one unit it is known to be 1; other figures' nominal
    variance is a rough one.
    """
    is_share = isinstance(estimate.scale, ShareScale) and estimate.per_unit is not None
    if is_share and estimate.cluster_size == 1 and estimate.seeds == 1:
        return 1.0
    found = estimate.variance / nominal_variance if nominal_variance > 0 else 0.0
    weighted = estimate.evidence * found + PRIOR_EVIDENCE * prior_design_effect(estimate)
    effect = weighted / (estimate.evidence + PRIOR_EVIDENCE)
    # A mean over seeds may vary less than the figure of one of them.
    return max(effect, 1 / estimate.seeds) if is_share else effect


def quantile_of(estimate: Estimate, toward_student: float = 1 / 3) -> float:
    """Quantile of a score interval: normal where units are independent.

    Where patients have several units, up to `toward_student` of the way to Student's: the spread is
    then estimated, but a score interval is wide for few units anyway. Student's where seeds differ.
    How far was chosen by coverage (benchmarks/coverage.py).
    """
    toward_student *= 1 - 1 / estimate.cluster_size
    if estimate.seed_variance > 0:
        toward_student = 1.0
    return Z_95 + toward_student * (t_quantile(estimate.df) - Z_95)


def wilson(share: float, n: float, quantile: float = Z_95) -> tuple[float, float]:
    """Wilson's interval of a share of `n` units, which need not be whole, modified for rare ones.

    See `ShareScale` on the modification.
    """
    squared = quantile**2
    centre = (share + squared / (2 * n)) / (1 + squared / n)
    spread = math.sqrt(share * (1 - share) / n + squared / (4 * n**2))
    half = quantile * spread / (1 + squared / n)
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    right, wrong = n * share, n * (1 - share)
    slack = 1e-9  # for counts that rounding moved past a whole number
    if slack < wrong <= _RARE + slack:
        high = max(high, 1 - float(gammaincinv(wrong, 2 * TAIL)) / n)
    if slack < right <= _RARE + slack:
        low = min(low, float(gammaincinv(right, 2 * TAIL)) / n)
    return (0.0 if right < slack else low), (1.0 if wrong < slack else high)


def _last_inside(is_inside: Callable[[float], bool], inside: float, end: float) -> float:
    """The last point inside on the way from a point inside to an end, by halving."""
    outside = end
    for _ in range(_BISECTIONS):
        middle = (inside + outside) / 2
        if is_inside(middle):
            inside = middle
        else:
            outside = middle
    return inside
