"""Gestational age from whatever dated the visit, best first, with its source."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bsou_dist.cohort.columns import CIRCULAR_GA_SOURCES, COLUMNS, YOUNGEST_DAYS
from bsou_dist.cohort.famli.pregnancies import LONGEST_DAYS

Candidates = list[tuple[str, pd.Series]]
"""Sources of gestational age, best first: ``ga_source`` and the age (days) by row."""

APART_DAYS = 14  # more than two ways of dating one pregnancy should be apart
TERM_DAYS = 280
"""From the beginning of a pregnancy to its due date."""
_BY_DATES = ("ga_edd_days", "ga_conception_days", "ga_lmp_days")
"""Ages of a report by a date, the most trusted first: a due date may rest on an early scan."""
_ROUNDING_DAYS = 1


def candidates(forms: pd.DataFrame, reports: pd.DataFrame, day: pd.Series) -> Candidates:
    """Sources of gestational age. Those from 'sr_ga' on are the same scan's biometry: circular.

    Args:
        forms: ``ga_days``, ``ga_weeks``, ``ga_extra_days`` and ``due_date`` of each clip's visit.
        reports: ``REPORT_FIELDS`` of each clip's visit and maker.
        day: of each clip, in days since 1970 as is the due date.
    """
    by_due_date = TERM_DAYS - (forms["due_date"] - day)
    by_crl = robinson_ga_days(reports["crl_cm"])
    by_biometry = hadlock_ga_days(
        reports["bpd_cm"], reports["hc_cm"], reports["ac_cm"], reports["fl_cm"]
    )
    return [
        *ages_of_forms(forms),
        ("edd", by_due_date),
        ("edd", reports["ga_edd_days"]),
        ("conception", reports["ga_conception_days"]),
        ("lmp", reports["ga_lmp_days"]),
        ("sr_ga", reports["sr_ga_days"]),
        ("cua", reports["cua_days"]),
        ("aua", reports["aua_days"]),
        ("ua", reports["ua_days"]),
        ("sr_crl", by_crl),
        ("hadlock", by_biometry),
    ]


def ages_of_forms(forms: pd.DataFrame) -> Candidates:
    """Ages that forms state, in days or in weeks and days."""
    weeks_and_days = forms["ga_weeks"] * 7 + forms["ga_extra_days"]
    return [("form", forms["ga_days"]), ("form", weeks_and_days)]


def robinson_ga_days(crl_cm: pd.Series) -> pd.Series:
    """Gestational age (days) by crown-rump length (Robinson & Fleming 1975); 5 cm are 81 days."""
    crl_mm = crl_cm * 10
    return 8.052 * np.sqrt(crl_mm) + 23.73


def hadlock_ga_days(
    bpd_cm: pd.Series, hc_cm: pd.Series, ac_cm: pd.Series, fl_cm: pd.Series
) -> pd.Series:
    """Gestational age (days) by biometry (Hadlock et al. 1984).

    All four measures count, or the other three where BPD is missing.
    """
    by_four = 10.85 + 0.060 * hc_cm * fl_cm + 0.6700 * bpd_cm + 0.1680 * ac_cm
    without_bpd = 10.33 + 0.031 * hc_cm * fl_cm + 0.361 * hc_cm + 0.0298 * ac_cm * fl_cm
    weeks = by_four.fillna(without_bpd)
    return 7 * weeks


def first_age(candidates: Candidates) -> tuple[pd.Series, pd.Series]:
    """The first possible age (days) of each row, and the name of where it came from."""
    index = candidates[0][1].index
    age = pd.Series(np.nan, index=index)
    source = pd.Series(None, index=index, dtype="str")
    for name, candidate in candidates:
        new = age.isna() & _is_possible(candidate)
        age = age.mask(new, candidate)
        source = source.mask(new, name)
    return age, source


def too_young(candidates: Candidates) -> pd.Series:
    """Rows with an age before any scan, 0 for example, from a source; ``first_age`` skips it."""
    young = [age < YOUNGEST_DAYS for _, age in candidates]
    return pd.concat(young, axis="columns").any(axis="columns")


def disagree(candidates: Candidates) -> pd.Series:
    """Rows whose sources give ages more than two weeks apart."""
    possible = [age.where(_is_possible(age)) for _, age in candidates]
    ages = pd.concat(possible, axis="columns")
    return ages.max(axis="columns") - ages.min(axis="columns") > APART_DAYS


def dates_differ(reports: pd.DataFrame) -> pd.Series:
    """Rows whose report has ages by due date, conception and last period that differ."""
    possible = [reports[name].where(_is_possible(reports[name])) for name in _BY_DATES]
    ages = pd.concat(possible, axis="columns")
    return ages.max(axis="columns") - ages.min(axis="columns") > _ROUNDING_DAYS


def against_the_calendar(clips: pd.DataFrame) -> pd.Series:
    """Patients (boolean by ``patient_id``) whose age and ``visit_day`` don't grow together.

    More than two weeks of difference count. Two beginnings that are further apart than a pregnancy
    lasts are two pregnancies.
    """
    dated = clips["ga_source"].notna() & ~clips["ga_source"].isin(CIRCULAR_GA_SOURCES)
    beginning_day = clips["visit_day"] - clips["ga_days"]
    began = clips.loc[dated, ["patient_id"]].assign(day=beginning_day).dropna()
    began = began.drop_duplicates().sort_values(["patient_id", "day"])
    apart_days = began.groupby("patient_id")["day"].diff()
    strange = apart_days.gt(APART_DAYS) & apart_days.le(LONGEST_DAYS)
    return strange.groupby(began["patient_id"]).any()


def _is_possible(age: pd.Series) -> pd.Series:
    return age.between(COLUMNS["ga_days"].low, COLUMNS["ga_days"].high)
