"""Structured reports of the scanners: one measurement per row, made into one value per visit and
maker.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from statistics import mode

import numpy as np
import pandas as pd

from bsou_dist.cohort.bad_cells import bad_cells
from bsou_dist.cohort.columns import COLUMNS
from bsou_dist.cohort.famli.devices import NO_MAKER, makers
from bsou_dist.cohort.famli.table_roles import REPORT_FIELDS
from bsou_dist.cohort.famli.tables import Tables

_LOWEST = {"days": 0.0, "cm": 0.0, "fetuses": 1.0, "text": 1.0}
_HIGHEST = {"days": COLUMNS["ga_days"].high, "cm": 60.0, "fetuses": 5.0, "text": 5.0}
"""What a measurement can be, by the last word of its name: its unit or what it counts."""

_KEY = ["study_id", "maker"]
_WEEKS = re.compile(r"\d\s*w", re.IGNORECASE)
_WEEKS_AND_DAYS = r"(\d+(?:\.\d+)?)\s*w(?:k|ks|eeks?)?\.?,?\s*(?:(\d)\s*d(?:ays?)?)?"
_APART_DAYS = 7.0


def read_reports(tables: Tables, roles: Iterable[str]) -> pd.DataFrame:
    """Measurements (columns of ``REPORT_FIELDS`` but for ``fetuses_text``, float64) by ``study_id``
    and ``maker``.

    A value stands for the device that made it: no other exam of the visit gets it.
    """
    rows = pd.concat([_measurements(tables, role) for role in roles], ignore_index=True)
    rows = rows[~_unlike_repeats(tables, rows)]
    measures = [measure for measure in REPORT_FIELDS if measure != "fetuses_text"]
    return _one_value_each(rows).unstack("measure").reindex(columns=measures).astype("float64")


def _measurements(tables: Tables, role: str) -> pd.DataFrame:
    """Rows of interest: ``study_id``, ``maker``, ``measure``, ``value`` and ``derivation``."""
    table = tables.read(role)
    name = table["name"].where(table["qualifier"].isna(), table["name"] + ", " + table["qualifier"])
    measure = name.map(_measure_of(tables.mapping.measurements)).astype("str")
    usable = measure.notna() & table["study_id"].notna() & table["alert"].isna()
    table = table[usable].assign(measure=measure[usable])
    table["maker"] = makers(table["maker"]).fillna(NO_MAKER)  # no exam's, but twins remain twins
    value = pd.to_numeric(table["number"], errors="coerce").astype("float64")
    value = value.where(~table["text"].str.endswith(" mm").eq(True), value / 10)
    in_weeks = table["measure"].str.endswith("_days") & table["text"].str.contains(_WEEKS).eq(True)
    value = value.mask(in_weeks, _days_of(table["text"].where(in_weeks)))
    tables.note(
        int((in_weeks & value.isna()).sum()),
        "ages in structured reports are in weeks that can't be read and were not used",
    )

    in_words = table["measure"].eq("fetuses_text")
    words = table["text"].str.lower().where(in_words)
    counted = pd.Series(np.nan, index=table.index).mask(words.str.contains("twin").eq(True), 2.0)
    counted = counted.mask(words.str.contains("sole").eq(True), 1.0)
    unclear = bad_cells(
        table, "text", words.notna() & counted.isna(), "text with 'sole' or 'twin' in it"
    )
    tables.blame(
        role, [replace(cell, value="(not shown)") for cell in unclear]
    )  # a report's text may name somebody
    value = value.mask(in_words, counted)
    table["measure"] = table["measure"].mask(in_words, "fetuses")

    low, high = (
        table["measure"]
        .map({name: limits[name.rpartition("_")[2]] for name in REPORT_FIELDS})
        .astype("float64")
        for limits in (_LOWEST, _HIGHEST)
    )
    impossible = value.notna() & ~value.between(low, high)
    tables.note(
        int(impossible.sum()),
        "values of structured reports are beyond anything possible and were not used",
    )
    return table.assign(value=value.mask(impossible)).dropna(subset="value")


def _days_of(text: pd.Series) -> pd.Series:
    """Days in '27w6d' or '27.9 wk'; missing where it says anything else."""
    parts = (
        text.str.strip().str.extract(f"^{_WEEKS_AND_DAYS}$", flags=re.IGNORECASE).astype("float64")
    )
    return parts[0] * 7 + parts[1].fillna(0)


def _unlike_repeats(tables: Tables, rows: pd.DataFrame) -> pd.Series:
    """Rows of an age that one report gives twice, more than a week apart, with a note.

    Only 'sr_ga_days' may differ: each of its rows is the age by another measurement.
    """
    key = [*_KEY, "measure"]
    values = rows.groupby(key)["value"]
    apart = (values.transform("max") - values.transform("min")).gt(_APART_DAYS)
    apart &= rows["measure"].str.endswith("_days") & rows["measure"].ne("sr_ga_days")
    tables.note(
        len(rows.loc[apart, key].drop_duplicates()),
        "ages in structured reports are given twice, more than "
        f"{_APART_DAYS:g} days apart, and were not used",
    )
    return apart


def _measure_of(measurements: Mapping[str, Iterable[str]]) -> dict[str, str]:
    return {name: measure for measure, names in measurements.items() for name in names}


def _one_value_each(rows: pd.DataFrame) -> pd.Series:
    """By visit, maker and measure: the row that the scanner derived by the measure's method, else
    that method.
    """
    key = [*_KEY, "measure"]
    method = rows["measure"].map(REPORT_FIELDS)
    made = [
        rows[method.eq(name)].groupby(key)["value"].agg(_count_of if name == "nof" else name)
        for name in set(REPORT_FIELDS.values())
    ]
    derived = (
        rows[rows["derivation"].str.lower().eq(method) & method.ne("nof")]
        .groupby(key)["value"]
        .first()
    )
    return derived.combine_first(pd.concat(made))


def _count_of(counts: pd.Series) -> float:
    """How many fetuses repeats mean: an even number of rows were written fetus by fetus, so the
    largest counts.
    """
    values = counts.tolist()
    return max(values) if len(values) % 2 == 0 else mode(values)
