"""Gestational age from whatever dated the visit, best first, with its source."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bsou_dist.cohort.columns import CIRCULAR_GA_SOURCES, COLUMNS, YOUNGEST_DAYS

APART_DAYS = 14  # more than two ways of dating one pregnancy should be apart
_NEXT_PREGNANCY_DAYS = 300


def robinson_ga_days(crl_cm: pd.Series) -> pd.Series:
    """Gestational age by crown-rump length (Robinson & Fleming 1975). Their formula wants mm; 5 cm
    are 81 days.
    """
    return 8.052 * np.sqrt(crl_cm * 10) + 23.73


def hadlock_ga_days(
    bpd_cm: pd.Series, hc_cm: pd.Series, ac_cm: pd.Series, fl_cm: pd.Series
) -> pd.Series:
    """Gestational age by biometry in cm (Hadlock et al. 1984): by all four, or by three where BPD
    is missing.
    """
    weeks = 10.85 + 0.060 * hc_cm * fl_cm + 0.6700 * bpd_cm + 0.1680 * ac_cm
    without_bpd = 10.33 + 0.031 * hc_cm * fl_cm + 0.361 * hc_cm + 0.0298 * ac_cm * fl_cm
    return 7 * weeks.fillna(without_bpd)


def first_age(candidates: list[tuple[str, pd.Series]]) -> tuple[pd.Series, pd.Series]:
    """The first age (days) of each row that can be one, and the name of where it came from."""
    index = candidates[0][1].index
    value, source = pd.Series(np.nan, index=index), pd.Series(None, index=index, dtype="str")
    for name, candidate in candidates:
        new = value.isna() & _can_be(candidate)
        value, source = value.mask(new, candidate), source.mask(new, name)
    return value, source


def too_young(candidates: list[tuple[str, pd.Series]]) -> pd.Series:
    """Rows where a source gives an age before any scan, 0 for example, which ``first_age`` passes
    by.
    """
    return pd.concat(
        [candidate < YOUNGEST_DAYS for _, candidate in candidates], axis="columns"
    ).any(axis="columns")


def disagree(candidates: list[tuple[str, pd.Series]]) -> pd.Series:
    """Rows whose sources give ages more than two weeks apart."""
    ages = pd.concat(
        [candidate.where(_can_be(candidate)) for _, candidate in candidates], axis="columns"
    )
    return ages.max(axis="columns") - ages.min(axis="columns") > APART_DAYS


def against_the_calendar(clips: pd.DataFrame) -> pd.Series:
    """Patients (boolean by ``patient_id``) whose age and ``visit_day`` do not grow together, by
    more than two weeks.

    Two beginnings that are further apart than a pregnancy lasts are two pregnancies.
    """
    dated = clips["ga_source"].notna() & ~clips["ga_source"].isin(CIRCULAR_GA_SOURCES)
    began = (
        clips.loc[dated, ["patient_id"]].assign(day=clips["visit_day"] - clips["ga_days"]).dropna()
    )
    began = began.drop_duplicates().sort_values(["patient_id", "day"])
    apart = began.groupby("patient_id")["day"].diff()
    strange = apart.gt(APART_DAYS) & apart.le(_NEXT_PREGNANCY_DAYS)
    return strange.groupby(began["patient_id"]).any()


def _can_be(age: pd.Series) -> pd.Series:
    return age.between(COLUMNS["ga_days"].low, COLUMNS["ga_days"].high)


def candidates(forms: pd.DataFrame, reports: pd.DataFrame) -> list[tuple[str, pd.Series]]:
    """Sources of gestational age (days), best first. Those from 'sr_ga' on are the same scan's
    biometry: circular.

    Args:
        forms: ``ga_days``, ``ga_weeks`` and ``ga_extra_days`` of each clip's visit.
        reports: ``REPORT_FIELDS`` of each clip's visit and maker.
    """
    return [
        ("form", forms["ga_days"]),
        ("form", forms["ga_weeks"] * 7 + forms["ga_extra_days"].fillna(0)),
        ("lmp", reports["ga_lmp_days"]),
        ("edd", reports["ga_edd_days"]),
        ("sr_ga", reports["sr_ga_days"]),
        ("cua", reports["cua_days"]),
        ("aua", reports["aua_days"]),
        ("ua", reports["ua_days"]),
        ("sr_crl", robinson_ga_days(reports["crl_cm"])),
        (
            "hadlock",
            hadlock_ga_days(
                reports["bpd_cm"], reports["hc_cm"], reports["ac_cm"], reports["fl_cm"]
            ),
        ),
    ]
