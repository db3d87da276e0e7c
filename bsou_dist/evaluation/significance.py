"""P-values: McNemar's exact test, Student's, and Holm's correction for several."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import bdtr, stdtr


def mcnemar(first_alone: int, second_alone: int, *, mid_p: bool = False) -> float:
    """Two-sided exact p-value of McNemar's test.

    Args:
        first_alone: number of pairs in which the first method alone is right.
        second_alone: and the second alone.
        mid_p: count what was seen by half, which is less conservative (Fagerland et al. 2013).
    """
    discordant = first_alone + second_alone
    if discordant == 0:
        return 1.0
    fewer = min(first_alone, second_alone)
    tail = float(bdtr(fewer, discordant, 0.5))
    if mid_p:
        below = float(bdtr(fewer - 1, discordant, 0.5)) if fewer else 0.0
        return min(1.0, tail + below)
    return min(1.0, 2 * tail)


def student(value: float, variance: float, df: float) -> float:
    """Two-sided p-value of a value that is 0 by the null hypothesis; NaN without any spread."""
    if not variance > 0:
        return math.nan
    # An infinite number of degrees of freedom is asked for as the largest that can be had.
    return 2 * float(stdtr(min(df, 1e12), -abs(value) / math.sqrt(variance)))


def holm(p_values: np.ndarray) -> np.ndarray:
    """P-values corrected by Holm's procedure (1979), (n,); NaN stay, and don't count."""
    corrected = np.full(len(p_values), np.nan)
    tested = np.flatnonzero(~np.isnan(p_values))
    order = tested[np.argsort(p_values[tested], kind="stable")]
    largest = 0.0
    for place, index in enumerate(order):
        largest = max(largest, (len(order) - place) * float(p_values[index]))
        corrected[index] = min(1.0, largest)
    return corrected
