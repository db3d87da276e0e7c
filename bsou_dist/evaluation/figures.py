"""What kinds of figure there are, and how each is estimated from labelled and predicted units.

A figure tells the value and each patient's influence on it; `intervals` does the rest, for one seed
or several, for one method or the difference of two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from bsou_dist.evaluation.estimates import MIN_PATIENTS, Clusters, Estimate, mean_cluster_size
from bsou_dist.evaluation.metrics import Metric, Scored, value_of
from bsou_dist.evaluation.scales import Z_95, AreaScale, LogScale, PlainScale, ShareScale

UnitValues = Callable[[Scored], np.ndarray]
"""A number for each unit, (n,), NaN for those that don't count."""
_MAX_WEIGHTS = 4_000_000
"""Patients are left out in blocks of at most this many weights (32 MB)."""


class Figure(Protocol):
    """A kind of figure."""

    def estimate(self, scored: Scored, clusters: Clusters) -> Estimate:
        """Estimate it from units and the patients they belong to."""


@dataclass(frozen=True)
class Share:
    """Share of the units that count for which something holds, such as accuracy or sensitivity."""

    holds: UnitValues
    """1 or 0 for each unit; NaN for one that doesn't count, such as a negative in a sensitivity."""

    def estimate(self, scored: Scored, clusters: Clusters) -> Estimate:
        """See `Figure.estimate`."""
        estimate = _mean(self.holds(scored).astype(float), clusters)
        share = estimate.value
        return replace(
            estimate,
            scale=ShareScale(estimate.n),
            evidence=estimate.n * share * (1 - share),
        )


@dataclass(frozen=True)
class Mean:
    """Mean of a number over the units that count, such as bias; `positive` for one above 0.

    The interval of a figure that can't be negative is formed on the logarithmic scale.
    """

    values: UnitValues
    positive: bool = False

    def estimate(self, scored: Scored, clusters: Clusters) -> Estimate:
        """See `Figure.estimate`."""
        estimate = _mean(self.values(scored).astype(float), clusters)
        return replace(estimate, scale=LogScale()) if self.positive else estimate


@dataclass(frozen=True)
class Deviation:
    """Standard deviation of a number over units (dividing by n), on the logarithmic scale.

    Patients are left out one by one. The degrees of freedom follow from how unequal their
    influences are, and the standard error is widened by P / (P - 1.96) as Bonett 2006 does, since
    few patients rarely show the tails that a deviation hangs on.
    """

    values: UnitValues

    def estimate(self, scored: Scored, clusters: Clusters) -> Estimate:
        """See `Figure.estimate`."""
        values = self.values(scored).astype(float)
        values = values - values.mean()  # keeps the squares below small
        sums, squares = clusters.sums(values), clusters.sums(values**2)
        count = np.array(float(len(values)))
        value = float(_deviation(count, sums.sum(), squares.sum()))
        left_out = _deviation(count - clusters.sizes, sums.sum() - sums, squares.sum() - squares)
        problem = too_few(clusters.count)
        if problem is None and not (left_out > 0).all():
            problem = "all spread is one patient's"
        estimate = Estimate(
            value=value,
            influence=np.zeros(clusters.count),
            scale=LogScale(),
            n=len(values),
            n_patients=clusters.count,
            df_patients=1.0,
            cluster_size=mean_cluster_size(clusters.sizes),
            problem=problem,
        )
        if problem:
            return estimate
        moves = np.log(left_out / value)
        bias = (clusters.count - 1) * float(moves.mean())
        moves = (moves - moves.mean()) * np.sqrt((clusters.count - 1) / clusters.count)
        widened = clusters.count / (clusters.count - Z_95)
        influence = moves * value * widened
        df = _df_of_influence(influence)
        return replace(estimate, influence=influence, scale=LogScale(log_bias=bias), df_patients=df)


@dataclass(frozen=True)
class Area:
    """Area under the ROC curve; ties count one half.

    Of class 1 if there are two classes, else the mean of one against the rest over the classes that
    occur. Each unit's influence is the share of the other class that it ranks rightly against
    (DeLong 1988), summed by patient (Obuchowski 1997).
    """

    def estimate(self, scored: Scored, clusters: Clusters) -> Estimate:
        """See `Figure.estimate`."""
        assert scored.probabilities is not None
        class_count = scored.probabilities.shape[1]
        classes = [1] if class_count == 2 else range(class_count)
        binary = []
        for index in classes:
            positive = scored.label == index
            if positive.any() and not positive.all():
                binary.append(_binary_area(positive, scored.probabilities[:, index], clusters))
        estimate = Estimate(
            value=np.nan,
            influence=np.zeros(clusters.count),
            scale=PlainScale(),
            n=len(scored.label),
            n_patients=clusters.count,
            df_patients=1.0,
            problem="only one class occurs",
        )
        if not binary:
            return estimate
        value = float(np.mean([area.value for area in binary]))
        smaller_counts = [min(area.positives, area.negatives) for area in binary]
        fewest = min(area.fewest_patients for area in binary)
        return replace(
            estimate,
            value=value,
            influence=np.mean([area.influence for area in binary], axis=0),
            scale=AreaScale([(area.positives, area.negatives) for area in binary]),
            df_patients=min(area.df for area in binary),
            cluster_size=float(np.mean([area.cluster_size for area in binary])),
            # Largest at an area of one half, and none at a perfect one.
            evidence=sum(smaller_counts) * 4 * value * (1 - value),
            problem=too_few(fewest, " of a class"),
        )


@dataclass(frozen=True)
class Weighted:
    """Any metric of weighted units, such as macro-F1; each patient in turn is left out.

    `independent_n` says for a metric between 0 and 1 how many independent units its uncertainty is
    worth; the interval then is as a share's. Without it, Student's.
    """

    metric: Metric
    independent_n: Callable[[Scored], float] | None = None
    by_class: bool = False
    """Whether it compares classes: each that occurs must then have enough patients."""

    def estimate(self, scored: Scored, clusters: Clusters) -> Estimate:
        """See `Figure.estimate`."""
        value = value_of(self.metric, scored)
        sizes = clusters.sizes
        problem = too_few(clusters.count)
        if self.by_class:
            of_classes = [clusters.sums(scored.label == index) for index in np.unique(scored.label)]
            sizes = min(of_classes, key=np.count_nonzero)
            problem = too_few(int(np.count_nonzero(sizes)), " of a class")
            if len(of_classes) == 1:
                problem = "only one class occurs"
        if np.isnan(value):
            problem = "it is undefined"
        influence = np.zeros(clusters.count)
        if problem is None:
            left_out = self._left_out(scored, clusters)
            moves = (left_out - value) * np.sqrt((clusters.count - 1) / clusters.count)
            if np.isnan(moves).any():
                problem = "it is undefined without one of the patients"
            else:
                influence = moves
        estimate = Estimate(
            value=value,
            influence=influence,
            scale=PlainScale(),
            n=len(scored.label),
            n_patients=clusters.count,
            df_patients=max(1.0, clusters.count - 1.0),
            cluster_size=mean_cluster_size(sizes),
            problem=problem,
        )
        if self.independent_n is None:
            return estimate
        independent = self.independent_n(scored)
        evidence = independent * 4 * value * (1 - value)
        return replace(estimate, scale=ShareScale(independent), evidence=evidence)

    def _left_out(self, scored: Scored, clusters: Clusters) -> np.ndarray:
        """The metric without each of the patients, (P,)."""
        rows = max(1, _MAX_WEIGHTS // len(clusters.code))
        values = []
        for start in range(0, clusters.count, rows):
            patients = np.arange(start, min(start + rows, clusters.count))
            is_kept = clusters.code != patients[:, None]
            values.append(self.metric(scored, is_kept.astype(float)))
        return np.concatenate(values)


@dataclass(frozen=True)
class _BinaryArea:
    value: float
    influence: np.ndarray
    positives: int
    negatives: int
    fewest_patients: int
    df: float
    cluster_size: float


def _binary_area(positive: np.ndarray, score: np.ndarray, clusters: Clusters) -> _BinaryArea:
    """The area of one class against the rest, with both classes there."""
    place = np.empty(len(score))
    above, below = np.sort(score[positive]), np.sort(score[~positive])
    place[positive] = _share_below(below, score[positive])
    place[~positive] = 1 - _share_below(above, score[~positive])
    value = float(place[positive].mean())
    influence = np.zeros(clusters.count)
    variances, patients, sizes = [], [], []
    for is_class in (positive, ~positive):
        part = np.bincount(
            clusters.code[is_class], place[is_class] - value, minlength=clusters.count
        )
        size = np.bincount(clusters.code[is_class], minlength=clusters.count)
        count = int((size > 0).sum())
        part = part / is_class.sum() * np.sqrt(count / max(1, count - 1))
        influence += part
        variances.append(float((part**2).sum()))
        patients.append(count)
        sizes.append(size)
    total = sum(variances)
    dfs = [max(1, count - 1) for count in patients]
    df = float(min(dfs))
    if total > 0:
        parts = [variance**2 / one for variance, one in zip(variances, dfs, strict=True)]
        df = max(df, total**2 / sum(parts))
    rarer = int(np.argmin(patients))
    return _BinaryArea(
        value=value,
        influence=influence,
        positives=int(positive.sum()),
        negatives=int((~positive).sum()),
        fewest_patients=min(patients),
        df=df,
        cluster_size=mean_cluster_size(sizes[rarer]),
    )


def _share_below(ordered: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Share of `ordered` that lies below each score; equal ones count one half."""
    below = np.searchsorted(ordered, scores, "left")
    not_above = np.searchsorted(ordered, scores, "right")
    return (below + not_above) / (2 * len(ordered))


def _mean(values: np.ndarray, clusters: Clusters) -> Estimate:
    """Mean of the units that count, each patient left out in turn (the cluster jackknife)."""
    counts = ~np.isnan(values)
    count = int(counts.sum())
    sums = clusters.sums(np.where(counts, values, 0.0))
    sizes = clusters.sums(counts.astype(float))
    patients = int((sizes > 0).sum())
    value = float(sums.sum() / count) if count else np.nan
    influence = np.zeros(clusters.count)
    if patients > 1:
        left_out = (sums.sum() - sums) / (count - sizes)
        influence = np.where(sizes > 0, left_out - value, 0.0) * np.sqrt((patients - 1) / patients)
    return Estimate(
        value=value,
        influence=influence,
        scale=PlainScale(),
        n=count,
        n_patients=patients,
        df_patients=max(1.0, patients - 1.0),
        cluster_size=mean_cluster_size(sizes) if count else 1.0,
        per_unit=values,
        problem=too_few(patients),
    )


def too_few(patients: int, of_what: str = "") -> str | None:
    """Why there is no interval where patients are too few; None where they are enough."""
    if patients >= MIN_PATIENTS:
        return None
    return f"{patients} patients{of_what}; an interval takes {MIN_PATIENTS}"


def _deviation(count: np.ndarray, total: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Standard deviation from the number of units, their sum and their sum of squares."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt(np.maximum(squares / count - (total / count) ** 2, 0.0))


def _df_of_influence(influence: np.ndarray) -> float:
    """Degrees of freedom of a sum of squares of unequal influences, from 2 to one per patient less.

    Twice the squared expectation over the variance, as Satterthwaite's.
    """
    squared = influence**2
    spread = squared.var(ddof=1)
    count = len(influence)
    if spread == 0:
        return count - 1.0
    return float(np.clip(2 * squared.sum() ** 2 / (count * spread), 2, count - 1))
