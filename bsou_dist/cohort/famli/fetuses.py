"""Number of fetuses: by the file of corrections, else by forms and reports where they agree."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from bsou_dist.cohort.famli.pregnancies import tell_apart
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


def count_fetuses(tables: Tables, clips: pd.DataFrame, records: pd.DataFrame) -> FetusCount:
    """Combine what forms and reports say.

    A number is that of a pregnancy: what the form or report of any visit says, be it one without
    clips, holds for all visits of that pregnancy, and what another contradicts is disputed for all.
    Where pregnancies can't be told apart the patient counts as one. A file of corrections ends
    disputes.

    Args:
        tables: to read the file of corrections from.
        clips: with ``patient_id``, ``day`` and the day that the pregnancy ``began``.
        records: one for each form and report: ``patient_id``, ``day``, ``began`` and ``fetuses``.
    """
    visits = clips[["patient_id", "day", "began"]].drop_duplicates()
    known = pd.concat([visits, records], ignore_index=True)
    known["pregnancy"] = tell_apart(known)
    # concat keeps the order: the visits come first
    numbered = visits.assign(pregnancy=known["pregnancy"].iloc[: len(visits)].to_numpy())
    pregnancy = clips.merge(numbered, on=["patient_id", "day", "began"], how="left")
    of_clip = clips[["patient_id"]].assign(pregnancy=pregnancy["pregnancy"].to_numpy())
    fewest, most = _extremes(known.dropna(subset=["fetuses"]), of_clip)
    disputed = fewest < most

    corrections = _read_corrections(tables)
    patient = clips["patient_id"]
    in_file = corrections.fetuses.index.union(corrections.excluded)
    without_clips = ~in_file.isin(patient)
    tables.note(int(without_clips.sum()), "patients of the file of twins have no clip here")
    final = patient.map(corrections.fetuses)
    corrected = patient.isin(corrections.fetuses.index)
    of_another = corrected & _is_of_another_pregnancy(known, of_clip, final)
    tables.note(
        patient[of_another].nunique(),
        "patients of the file of twins have another pregnancy, to which its number was not given",
    )
    corrected &= ~of_another
    number = most.mask(disputed)
    return FetusCount(
        fetuses=final.where(corrected, number),
        disputed=disputed.where(~corrected, final.isna()) | of_another & number.isna(),
        excluded=patient.isin(corrections.excluded),
    )


def _extremes(numbers: pd.DataFrame, of_clip: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """The lowest and the highest number that may be of each clip's pregnancy.

    A number of an unknown pregnancy may be of any of the patient's, and a clip of an unknown one
    may have any of the patient's numbers.
    """
    loose = numbers["pregnancy"].isna()
    of_pregnancy = numbers.groupby(["patient_id", "pregnancy"])["fetuses"]
    of_none = numbers[loose].groupby("patient_id")["fetuses"]
    of_patient = numbers.groupby("patient_id")["fetuses"]
    keys = pd.MultiIndex.from_frame(of_clip[["patient_id", "pregnancy"]])
    patient = of_clip["patient_id"]
    unknown = of_clip["pregnancy"].isna()
    found = []
    for extreme in ("min", "max"):
        own = of_pregnancy.agg(extreme).reindex(keys).set_axis(of_clip.index)
        any_own = patient.map(of_none.agg(extreme))
        number = pd.concat([own, any_own], axis="columns").agg(extreme, axis="columns")
        found.append(number.mask(unknown, patient.map(of_patient.agg(extreme))).astype("float64"))
    return found[0], found[1]


def _is_of_another_pregnancy(
    known: pd.DataFrame, of_clip: pd.DataFrame, final: pd.Series
) -> pd.Series:
    """True for clips of a pregnancy in which nobody saw the ``final`` number of the file.

    Somebody has to have seen it in another pregnancy of the patient, since the file has no dates.
    """
    patient, pregnancy = of_clip["patient_id"], of_clip["pregnancy"]
    seen = known.dropna(subset=["fetuses", "pregnancy"])
    seen_at_all = pd.MultiIndex.from_frame(seen[["patient_id", "fetuses"]])
    seen_here = pd.MultiIndex.from_frame(seen[["patient_id", "fetuses", "pregnancy"]])
    asked = pd.DataFrame({"patient": patient, "fetuses": final, "pregnancy": pregnancy})
    at_all = pd.MultiIndex.from_frame(asked[["patient", "fetuses"]]).isin(seen_at_all)
    here = pd.MultiIndex.from_frame(asked).isin(seen_here)
    return pregnancy.notna() & final.notna() & at_all & ~here


def _read_corrections(tables: Tables) -> _Corrections:
    """Read the file of twins.

    It marks patients to leave out by -99 as the final number or as the form's, or by an empty cell
    for the form's.
    """
    raw = tables.read("twins", sentinels=False).dropna(subset=["patient_id"])
    if raw.empty:
        return _Corrections(pd.Series(dtype="float64"), pd.Index([]))
    text = raw.drop(columns="line").apply(lambda column: column.str.removesuffix(".0"))
    without_number = text["fetuses"].fillna("").isin(["", _EXCLUDE])
    excluded_rows = text["final_fetuses"].eq(_EXCLUDE) | without_number
    # of two rows of a patient one is enough to leave the patient out
    excluded = pd.Index(raw.loc[excluded_rows, "patient_id"].unique())
    numbers = text.mask(text.isin(["", _EXCLUDE, _NOT_RECORDED])).assign(line=raw["line"])
    stated = numbers["final_fetuses"].notna()
    tables.decode("twins", numbers)
    unread = numbers.loc[stated & numbers["final_fetuses"].isna(), "patient_id"]
    several_final = numbers.groupby("patient_id")["final_fetuses"].nunique().gt(1)
    numbers = tables.one_row_each("twins", numbers, ["patient_id"])
    form, report = numbers["fetuses"], numbers["reported_fetuses"]
    agreed = form.where(form.eq(report) | report.isna()).mask(several_final)
    agreed = agreed.mask(numbers.index.isin(unread))
    final = numbers["final_fetuses"].fillna(agreed)
    return _Corrections(final.drop(excluded), excluded)
