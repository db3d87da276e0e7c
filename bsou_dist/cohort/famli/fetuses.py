"""How many fetuses: the file of corrections first, else the forms and the reports where they
agree.
"""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from bsou_dist.cohort.famli.exams import patients_of
from bsou_dist.cohort.famli.tables import Tables

_EXCLUDE = "-99"


class FetusCount(NamedTuple):
    """By clip: the number or missing, whether sources disagree about it, and whether the patient is
    to be left out.
    """

    fetuses: pd.Series
    disputed: pd.Series
    excluded: pd.Series


def count_fetuses(
    tables: Tables, clips: pd.DataFrame, by_form: pd.Series, by_report: pd.Series
) -> FetusCount:
    """Combine what forms (by ``study_id``) and reports (by ``study_id`` and ``maker``) say.

    A number is that of a pregnancy: what the form or report of any visit says, be it one without
    clips, holds for all visits of the patient, and what another contradicts is disputed for all. A
    file of corrections ends disputes.
    """
    said = (
        pd.concat([by_form, by_report.droplevel("maker")]).dropna().rename("fetuses").reset_index()
    )
    of_patient = (
        said.groupby(patients_of(said["study_id"]))["fetuses"].agg(["min", "max"]).astype("float64")
    )
    patient = clips["patient_id"]
    fewest, fetuses = (patient.map(of_patient[end]) for end in ("min", "max"))
    disputed = fewest < fetuses

    corrections, excluded_patients = _corrections(tables)
    strangers = ~corrections.index.union(excluded_patients).isin(patient)
    tables.note(int(strangers.sum()), "patients of the file of twins have no clip here")
    corrected = patient.isin(corrections.index)
    final = patient.map(corrections)
    return FetusCount(
        final.where(corrected, fetuses.mask(disputed)),
        disputed.where(~corrected, final.isna()),
        patient.isin(excluded_patients),
    )


def _corrections(tables: Tables) -> tuple[pd.Series, pd.Index]:
    """Number of fetuses by patient (missing where the file itself is in doubt), and the patients to
    leave out.

    The file marks those by -99 as the final number or as the form's, or by an empty cell for the
    form's.
    """
    raw = tables.one_row_each("twins", tables.read("twins", sentinels=False), "patient_id")
    text = raw.drop(columns="line").apply(lambda column: column.str.removesuffix(".0"))
    left_out = text["final_fetuses"].eq(_EXCLUDE) | text["fetuses"].fillna("").isin(["", _EXCLUDE])
    if not tables.mapping.tables.get("twins") or raw.empty:
        return pd.Series(dtype="float64"), raw.index[:0]
    numbers = text.mask(text.isin(["", _EXCLUDE, "-88"])).assign(line=raw["line"]).reset_index()
    tables.decode("twins", numbers)
    numbers = numbers.set_index("patient_id")
    form, report = numbers["fetuses"], numbers["reported_fetuses"]
    agreed = form.where(form.eq(report) | report.isna())
    return numbers["final_fetuses"].fillna(agreed)[~left_out], raw.index[left_out]
