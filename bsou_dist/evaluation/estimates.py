"""A figure with what each patient, and each seed of training, adds to its uncertainty.

Everything here is a closed form of the data: nothing is drawn, so that neither the order of rows
nor the names of patients matter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np

from bsou_dist.common.errors import InputError

MIN_PATIENTS = 5
"""With fewer patients (of a class, where classes are compared) no interval is given: even Wilson's
interval of 4 units holds a share of one half with a chance of 14 in 16 only.
"""


@dataclass(frozen=True)
class Clusters:
    """Which units belong to one patient, who is drawn as a whole."""

    code: np.ndarray
    """Patient of each unit, int64 (n,), 0 .. count-1."""
    count: int
    """Number of patients."""

    @classmethod
    def of(cls, patients: np.ndarray) -> Clusters:
        """Number the patients, given by name for each unit, (n,)."""
        names, code = np.unique(np.asarray(patients).astype(str), return_inverse=True)
        return cls(code, len(names))

    @cached_property
    def sizes(self) -> np.ndarray:
        """Number of units of each patient, (count,)."""
        return self.sums(np.ones(len(self.code)))

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sums of the units' values, (n,), by patient, (count,)."""
        return np.bincount(self.code, values, minlength=self.count)


def mean_cluster_size(sizes: np.ndarray) -> float:
    """Mean number of units of the patient that a unit belongs to (Kish 1965); sizes are (P,)."""
    return float((sizes**2).sum() / sizes.sum())


class Scale(Protocol):
    """The scale on which a figure's interval is formed (`scales`)."""

    def bounds(self, estimate: Estimate) -> tuple[float, float]:
        """The ends of the 95 % interval."""


@dataclass(frozen=True)
class Estimate:
    """A figure and its uncertainty.

    Attributes:
        value: the figure.
        influence: (P,), in the figure's unit: by how much each patient moves it. The sum of squares
            is the variance over patients.
        scale: on which the interval is formed.
        n: number of units.
        n_patients: number of patients who have such units.
        df_patients: degrees of freedom of the variance over patients.
        cluster_size: `mean_cluster_size`, of the rarest class where classes are compared.
        evidence: number of units that inform on spread, such as the wrong ones of a share.
        seed_variance: what training anew adds to the variance.
        df_seeds: degrees of freedom of `seed_variance`.
        seeds: number of seeds that `value` is the mean of.
        per_unit: (n,), what a mean or a share is the mean of; NaN for units that don't count.
        problem: why no interval is given, if none is.
    """

    value: float
    influence: np.ndarray
    scale: Scale
    n: int
    n_patients: int
    df_patients: float
    cluster_size: float = 1.0
    evidence: float = 0.0
    seed_variance: float = 0.0
    df_seeds: float = 0.0
    seeds: int = 1
    per_unit: np.ndarray | None = None
    problem: str | None = None

    @property
    def variance(self) -> float:
        """Variance over patients and seeds."""
        return self.patient_variance + self.seed_variance

    @property
    def patient_variance(self) -> float:
        """Variance over patients."""
        return float((self.influence**2).sum())

    @property
    def df(self) -> float:
        """Degrees of freedom of the variance."""
        variances = (self.patient_variance, self.seed_variance)
        return satterthwaite(variances, (self.df_patients, self.df_seeds))


def combine_seeds(estimates: Sequence[Estimate]) -> Estimate:
    """One figure, the mean over seeds, for the same units predicted after several trainings.

    Patients and seeds are crossed: the variance is that over patients of the mean over seeds, and
    what seeds differ by beyond the interplay of both, over their number (the three terms of a
    two-way random-effects model; Owen 2007, *The pigeonhole bootstrap*, has them as resampling).
    Degrees of freedom are Satterthwaite's. One seed says nothing on how trainings differ.

    Raises:
        InputError: the seeds have different units.
    """
    first = estimates[0]
    if len(estimates) == 1:
        return first
    shapes = {(len(estimate.influence), estimate.n) for estimate in estimates}
    if len(shapes) > 1:
        raise InputError("the seeds of a method have predictions of different units")
    count = len(estimates)
    values = np.array([estimate.value for estimate in estimates])
    influence = np.stack([estimate.influence for estimate in estimates])
    shared = influence.mean(axis=0)
    between_seeds = values.var(ddof=1) / count
    interplay = ((influence - shared) ** 2).sum() / (count * (count - 1))
    seed_variance = max(0.0, float(between_seeds - interplay))
    per_unit = [estimate.per_unit for estimate in estimates if estimate.per_unit is not None]
    problems = [estimate.problem for estimate in estimates if estimate.problem]
    return replace(
        first,
        value=float(values.mean()),
        influence=shared,
        evidence=float(np.mean([estimate.evidence for estimate in estimates])),
        seed_variance=seed_variance,
        df_seeds=count - 1.0,
        seeds=count,
        per_unit=np.mean(per_unit, axis=0) if per_unit else None,
        problem=problems[0] if problems else None,
    )


def satterthwaite(variances: Sequence[float], dfs: Sequence[float]) -> float:
    """Degrees of freedom of a sum of independent variances (Satterthwaite 1946)."""
    total = sum(variances)
    if total == 0:
        return dfs[0]
    shares = [variance**2 / df for variance, df in zip(variances, dfs, strict=True) if df > 0]
    return total**2 / sum(shares) if sum(shares) > 0 else math.inf
