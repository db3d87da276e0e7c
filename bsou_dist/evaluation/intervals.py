"""Intervals of figures and of differences of two methods, for one seed or several.

| what | interval |
|---|---|
| share | Wilson's at the effective number of units (`scales.ShareScale`) |
| area under the ROC curve | Newcombe's score interval (`scales.AreaScale`) |
| mean error, mean absolute error | Student's, plain or on the logarithmic scale |
| standard deviation | Student's on the logarithmic scale, degrees of freedom from the data |
| difference of two shares | Bonett and Price's, at the effective number of pairs |
| difference of two means | Student's, of the units' differences |
| another difference | from both methods' own intervals (MOVER), correlation over patients |
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from bsou_dist.evaluation.estimates import Clusters, Estimate, combine_seeds, satterthwaite
from bsou_dist.evaluation.figures import Figure
from bsou_dist.evaluation.metrics import Scored
from bsou_dist.evaluation.scales import PlainScale, ShareScale, design_effect, quantile_of

ESTIMABLE = "95 %"
NOT_ESTIMABLE = "n.e."
"""What `Interval.kind`, and a table, say where no interval can be given."""
_NO_BOUNDS = (math.nan, math.nan)


class Interval(NamedTuple):
    """A value with its 95 % interval and the number of units and patients that it rests on.

    Where an interval can't be honest, `low` and `high` are NaN, and `kind` is `NOT_ESTIMABLE`.
    """

    value: float
    low: float
    high: float
    n: int
    n_patients: int
    kind: str = ESTIMABLE


def interval_of(figure: Figure, seeds: Sequence[Scored], patients: np.ndarray) -> Interval:
    """Interval of a figure, the mean over seeds.

    Args:
        figure: what to estimate.
        seeds: the same units, in one order, as predicted after each training.
        patients: (n,) names each unit's patient.
    """
    estimate = estimate_of(figure, seeds, Clusters.of(patients))
    bounds = _NO_BOUNDS if estimate.problem else estimate.scale.bounds(estimate)
    return _interval(estimate.value, bounds, estimate)


def estimate_of(figure: Figure, seeds: Sequence[Scored], clusters: Clusters) -> Estimate:
    """Estimate a figure, the mean over seeds; see `interval_of`."""
    return combine_seeds([figure.estimate(scored, clusters) for scored in seeds])


def difference_of(
    figure: Figure, first: Sequence[Scored], second: Sequence[Scored], patients: np.ndarray
) -> Interval:
    """Interval of the figure of `first` minus that of `second`, paired.

    Both are seeds of the same units in one order; see `interval_of`.
    """
    clusters = Clusters.of(patients)
    one = estimate_of(figure, first, clusters)
    other = estimate_of(figure, second, clusters)
    return difference_interval(one, other)


def difference_interval(one: Estimate, other: Estimate) -> Interval:
    """Interval of the difference of two estimates of one figure from the same units."""
    pairs = paired(one, other)
    if pairs.problem:
        bounds = _NO_BOUNDS
    elif pairs.per_unit is None:
        bounds = _from_own_bounds(one, other)
    elif isinstance(pairs.scale, ShareScale):
        bounds = _share_difference(pairs)
    else:
        bounds = PlainScale().bounds(pairs)
    return _interval(pairs.value, bounds, pairs)


def paired(one: Estimate, other: Estimate) -> Estimate:
    """The difference of two estimates of one figure from the same units, by patient.

    Where both are means over the same units, `per_unit` has the units' differences, else None.
    """
    influence = one.influence - other.influence
    seed_variances = (one.seed_variance, other.seed_variance)
    per_unit = None
    evidence = 0.0
    if one.per_unit is not None and other.per_unit is not None:
        difference = one.per_unit - other.per_unit
        counts = ~np.isnan(difference)
        if one.n == other.n == counts.sum():
            per_unit = difference
            evidence = float((difference[counts] ** 2).sum())
    return replace(
        one,
        value=one.value - other.value,
        influence=influence,
        seed_variance=one.seed_variance + other.seed_variance,
        df_seeds=satterthwaite(seed_variances, (one.df_seeds, other.df_seeds)),
        seeds=min(one.seeds, other.seeds),
        df_patients=min(one.df_patients, other.df_patients),
        per_unit=per_unit,
        evidence=evidence,
        problem=one.problem or other.problem,
    )


def _share_difference(pairs: Estimate) -> tuple[float, float]:
    """Bonett and Price's interval of 2012: one pair is added to either kind of discordant ones.

    It does not collapse where no pair is discordant. Pairs of one patient, and what seeds add,
    lower the number of pairs by the design effect.
    """
    assert pairs.per_unit is not None
    discordant = pairs.evidence / pairs.n
    effect = design_effect(pairs, (discordant - pairs.value**2) / pairs.n)
    count = pairs.n / effect
    first_alone = ((discordant + pairs.value) / 2 * count + 1) / (count + 2)
    second_alone = ((discordant - pairs.value) / 2 * count + 1) / (count + 2)
    centre = first_alone - second_alone
    variance = (first_alone + second_alone - centre**2) / (count + 2)
    half = quantile_of(pairs) * math.sqrt(variance)
    return max(-1.0, centre - half), min(1.0, centre + half)


def _from_own_bounds(one: Estimate, other: Estimate) -> tuple[float, float]:
    """Method of variance estimates recovery (Zou and Donner 2008), with the correlation of both.

    The distances from each value to its own ends stand in for standard errors, so that skewness
    and perfect values are respected.
    """
    low_one, high_one = one.scale.bounds(one)
    low_other, high_other = other.scale.bounds(other)
    spread = math.sqrt(one.variance * other.variance)
    correlation = float(one.influence @ other.influence) / spread if spread > 0 else 0.0
    # Few patients make a correlation look closer than it is.
    correlation *= 1 - 1 / max(1.0, min(one.df_patients, other.df_patients))

    def distance(of_one: float, of_other: float) -> float:
        squared = of_one**2 + of_other**2 - 2 * correlation * of_one * of_other
        return math.sqrt(max(squared, 0.0))

    difference = one.value - other.value
    below = distance(one.value - low_one, high_other - other.value)
    above = distance(high_one - one.value, other.value - low_other)
    if below == 0 or above == 0:
        return _NO_BOUNDS
    return difference - below, difference + above


def _interval(value: float, bounds: tuple[float, float], estimate: Estimate) -> Interval:
    kind = NOT_ESTIMABLE if math.isnan(bounds[0]) else ESTIMABLE
    return Interval(value, *bounds, estimate.n, estimate.n_patients, kind)
