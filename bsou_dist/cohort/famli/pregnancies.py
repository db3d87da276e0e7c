"""Pregnancies of one patient, told apart by ages and dates where these leave no doubt."""

from __future__ import annotations

import numpy as np
import pandas as pd

_SAME_BEGINNING_DAYS = 42
"""Beginnings of one pregnancy are less apart, as each age may be off by three weeks.

Source: USFAMLIData, ``FAMLI_GA/C1_create_GA_tables_SR.sas``.
"""
LONGEST_DAYS = 300
"""No pregnancy lasts longer."""


def tell_apart(records: pd.DataFrame) -> pd.Series:
    """Number the pregnancies of each patient, and say which one each record is of.

    Args:
        records: ``patient_id``, ``day`` of the record and the day on which the pregnancy ``began``,
            both in days since 1970 and missing where unknown.

    Returns:
        A number from 0 that counts within the patient, float64; missing where a record can't be
        told to be of one pregnancy.
    """
    pregnancy = pd.Series(0.0, index=records.index)
    spread_days = records.groupby("patient_id")[["day", "began"]].agg(["min", "max"])
    widest_days = pd.concat(
        [spread_days[name]["max"] - spread_days[name]["min"] for name in ("day", "began")],
        axis="columns",
    ).max(axis="columns")
    # most patients have one pregnancy for sure, and a corpus has tens of thousands
    to_look_at = widest_days.index[widest_days.ge(_SAME_BEGINNING_DAYS)]
    rows_of = records.groupby("patient_id").groups
    for patient in to_look_at:
        own = records.loc[rows_of[patient]]
        pregnancy.loc[own.index] = _of_patient(own["day"].to_numpy(), own["began"].to_numpy())
    return pregnancy


def _of_patient(day: np.ndarray, began: np.ndarray) -> np.ndarray:
    """Pregnancies of the records of one patient, by ages first, then by dates alone."""
    found = _chains(began, _SAME_BEGINNING_DAYS)
    count = int(found.max()) + 1
    undated = np.isnan(began) & ~np.isnan(day)
    leftover = np.zeros(len(day), dtype=bool)
    for row in np.flatnonzero(undated):
        fitting = [
            number for number in range(count) if _may_be_of(day[row], began[found == number])
        ]
        leftover[row] = not fitting
        if len(fitting) == 1:
            found[row] = fitting[0]
    others = _chains(np.where(leftover, day, np.nan), LONGEST_DAYS + 1)
    found[leftover] = count + others[leftover]
    return np.where(found < 0, np.nan, found)


def _may_be_of(day: float, began: np.ndarray) -> bool:
    """True if a day lies within a pregnancy, by all days on which it may have begun."""
    return bool(began.min() <= day <= began.max() + LONGEST_DAYS)


def _chains(values: np.ndarray, apart: float) -> np.ndarray:
    """Number groups of values from 0: neighbours ``apart`` or more are of two groups.

    Missing values are of group -1.
    """
    groups = np.full(len(values), -1.0)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    steps = np.diff(values[order]) >= apart
    groups[order[:1]] = 0
    groups[order[1:]] = np.cumsum(steps)
    return groups
