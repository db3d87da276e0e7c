"""Number of fetuses: by the file of corrections, else by forms and reports where they agree."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from bsou_dist.cohort.famli.exams import patients_of
from bsou_dist.cohort.famli.tables import Tables

_EXCLUDE = "-99"
_NOT_RECORDED = "-88"


class FetusCount(NamedTuple):
    """Number of fetuses by clip (float64, or missing).

    ``disputed`` says whether sources disagree about it, ``excluded`` whether the patient is to be
    left out.
    """

    fetuses: pd.Series
    disputed: pd.Series
    excluded: pd.Series


class _Corrections(NamedTuple):
    """Content of the file of corrections, by patient."""

    fetuses: pd.Series
    """Number by ``patient_id``, missing where the file itself is in doubt."""
    excluded: pd.Index
    """Patients to leave out."""


def count_fetuses(
    tables: Tables, clips: pd.DataFrame, by_form: pd.Series, by_report: pd.Series
) -> FetusCount:
    """Combine what forms (by ``study_id``) and reports (by ``study_id`` and ``maker``) say.

    A number is that of a pregnancy: what the form or report of any visit says, be it one without
    clips, holds for all visits of the patient, and what another contradicts is disputed for all. A
    file of corrections ends disputes.
    """
    numbers = pd.concat([by_form, by_report.droplevel("maker")]).dropna()
    numbers = numbers.rename("fetuses").reset_index()
    by_patient = numbers.groupby(patients_of(numbers["study_id"]))["fetuses"]
    of_patient = by_patient.agg(["min", "max"]).astype("float64")
    patient = clips["patient_id"]
    fewest = patient.map(of_patient["min"])
    most = patient.map(of_patient["max"])
    disputed = fewest < most

    corrections = _read_corrections(tables)
    in_file = corrections.fetuses.index.union(corrections.excluded)
    without_clips = ~in_file.isin(patient)
    tables.note(int(without_clips.sum()), "patients of the file of twins have no clip here")
    corrected = patient.isin(corrections.fetuses.index)
    final = patient.map(corrections.fetuses)
    return FetusCount(
        fetuses=final.where(corrected, most.mask(disputed)),
        disputed=disputed.where(~corrected, final.isna()),
        excluded=patient.isin(corrections.excluded),
    )


def _read_corrections(tables: Tables) -> _Corrections:
    """Read the file of twins.

    It marks patients to leave out by -99 as the final number or as the form's, or by an empty cell
    for the form's.
    """
    raw = tables.one_row_each("twins", tables.read("twins", sentinels=False), "patient_id")
    text = raw.drop(columns="line").apply(lambda column: column.str.removesuffix(".0"))
    without_number = text["fetuses"].fillna("").isin(["", _EXCLUDE])
    excluded = text["final_fetuses"].eq(_EXCLUDE) | without_number
    if not tables.mapping.tables.get("twins") or raw.empty:
        return _Corrections(pd.Series(dtype="float64"), raw.index[:0])
    numbers = text.mask(text.isin(["", _EXCLUDE, _NOT_RECORDED]))
    numbers = numbers.assign(line=raw["line"]).reset_index()
    tables.decode("twins", numbers)
    numbers = numbers.set_index("patient_id")
    form, report = numbers["fetuses"], numbers["reported_fetuses"]
    agreed = form.where(form.eq(report) | report.isna())
    final = numbers["final_fetuses"].fillna(agreed)
    return _Corrections(final[~excluded], raw.index[excluded])
