"""How many fetuses: the file of corrections first, else the forms and the reports where they agree."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from bsou_dist.cohort.famli.tables import Tables

_EXCLUDE = "-99"


class FetusCount(NamedTuple):
    """By clip: the number or missing, whether sources disagree about it, and whether the patient is to be left out."""

    fetuses: pd.Series
    disputed: pd.Series
    excluded: pd.Series


def count_fetuses(tables: Tables, clips: pd.DataFrame, by_form: pd.Series, by_report: pd.Series) -> FetusCount:
    """Combine what forms (by clip) and reports (by ``study_id`` and ``maker``) say.

    A number is that of a pregnancy: what any form or report of any visit contradicts is disputed for all visits of the
    patient. A file of corrections ends disputes, for all visits.
    """
    of_reports = by_report.groupby("study_id").agg(["min", "max"]).astype("float64")
    fewest, most = (clips["study_id"].map(of_reports[end]) for end in ("min", "max"))
    fewest, most = by_form.combine(fewest, np.fmin), by_form.combine(most, np.fmax)
    patient = clips["patient_id"]
    disputed = fewest.groupby(patient).transform("min") < most.groupby(patient).transform("max")
    fetuses = most

    corrections, excluded_patients = _corrections(tables)
    corrected = patient.isin(corrections.index)
    final = patient.map(corrections)
    return FetusCount(final.where(corrected, fetuses.mask(disputed)), disputed.where(~corrected, final.isna()),
                      patient.isin(excluded_patients))


def _corrections(tables: Tables) -> tuple[pd.Series, pd.Index]:
    """Number of fetuses by patient (missing where the file itself is in doubt), and the patients to leave out.

    The file marks those by -99 as the final number or as the form's, or by an empty cell for the form's.
    """
    raw = tables.one_row_each("twins", tables.read("twins", sentinels=False), "patient_id")
    text = raw.drop(columns="line").apply(lambda column: column.str.strip().str.removesuffix(".0"))
    left_out = text["final_fetuses"].eq(_EXCLUDE) | text["fetuses"].fillna("").isin(["", _EXCLUDE])
    if not tables.mapping.tables.get("twins") or raw.empty:
        return pd.Series(dtype="float64"), raw.index[:0]
    numbers = text.mask(text.isin(["", _EXCLUDE, "-88"])).assign(line=raw["line"]).reset_index()
    tables.decode("twins", numbers)
    numbers = numbers.set_index("patient_id")
    form, report = numbers["fetuses"], numbers["reported_fetuses"]
    agreed = form.where(form.eq(report) | report.isna())
    return numbers["final_fetuses"].fillna(agreed)[~left_out], raw.index[left_out]
