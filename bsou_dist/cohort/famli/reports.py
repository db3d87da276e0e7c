"""Structured reports of the scanners: a measurement per row, made into one per visit and maker."""

from __future__ import annotations

import re
from collections.abc import Iterable
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
"""Limits of a measurement by the last word of its name: its unit or what it counts."""

_DEVICE_AT_VISIT = ["study_id", "maker"]
_MEASURED = [*_DEVICE_AT_VISIT, "measure"]
_WEEKS = re.compile(r"\d\s*w", re.IGNORECASE)
_WEEKS_AND_DAYS = r"(\d+(?:\.\d+)?)\s*w(?:k|ks|eeks?)?\.?,?\s*(?:(\d)\s*d(?:ays?)?)?"
_APART_DAYS = 7.0


def read_reports(tables: Tables, roles: Iterable[str]) -> pd.DataFrame:
    """Measurements by ``study_id`` and ``maker``: columns of ``REPORT_FIELDS``, float64.

    A value stands for the device that made it: no other exam of the visit gets it. Numbers of
    fetuses in words are in ``fetuses`` and have no column of their own.
    """
    rows = pd.concat([_measurements(tables, role) for role in roles], ignore_index=True)
    rows = rows[~_unlike_repeats(tables, rows)]
    columns = [name for name in REPORT_FIELDS if name != "fetuses_text"]
    values = _one_value_each(rows).unstack("measure")
    return values.reindex(columns=columns).astype("float64")


def reports_of_clips(tables: Tables, reports: pd.DataFrame, clips: pd.DataFrame) -> pd.DataFrame:
    """Values of ``read_reports`` that hold for each clip, row by row: those of its own maker.

    If the map says so, an exam whose maker has no report at the visit takes each value that the
    reports of other makers agree about.
    """
    device_at_visit = pd.MultiIndex.from_frame(clips[["study_id", "maker"]])
    own = reports.reindex(device_at_visit).set_axis(clips.index)
    if not tables.mapping.reports_of_other_makers:
        return own
    of_visit = reports.groupby("study_id")
    lowest, highest = of_visit.min(), of_visit.max()
    agreed = lowest.where(lowest == highest)
    has_own = pd.Series(device_at_visit.isin(reports.index), index=clips.index)
    served = ~has_own & clips["study_id"].isin(agreed.index)
    tables.note(
        int(served.sum()),
        "clips have no report of their own maker and take the visit's reports of other makers",
    )
    of_others = agreed.reindex(clips["study_id"]).set_axis(clips.index)
    return own.where(~served, of_others)


def read_wide_reports(tables: Tables) -> pd.DataFrame:
    """Measurements by ``study_id`` of a table with a column for each, as ``read_reports`` has them.

    It says of fetuses only whether there are several; ``fetuses`` is then 2, the least.
    """
    table = tables.read("wide_reports")
    tables.decode("wide_reports", table)
    rows = tables.one_row_each("wide_reports", table, ["study_id"])
    several = rows["multiple"].gt(0).map({True: 2.0, False: 1.0})
    rows["fetuses"] = several.where(rows["multiple"].notna())
    columns = [name for name in REPORT_FIELDS if name != "fetuses_text"]
    return rows.reindex(columns=columns).astype("float64")


def _measurements(tables: Tables, role: str) -> pd.DataFrame:
    """Rows of interest: ``study_id``, ``maker``, ``measure``, ``value`` and ``derivation``."""
    table = _rows_of_interest(tables, role)
    value = pd.to_numeric(table["number"], errors="coerce").astype("float64")
    in_mm = table["text"].str.endswith(" mm").eq(True)
    value = value.where(~in_mm, value / 10)
    is_age = table["measure"].str.endswith("_days")
    in_weeks = is_age & table["text"].str.contains(_WEEKS).eq(True)
    value = value.mask(in_weeks, _days_of(table["text"].where(in_weeks)))
    unread = in_weeks & value.isna()
    tables.note(
        int(unread.sum()),
        "ages in structured reports are in weeks that can't be read and were not used",
    )

    in_words = table["measure"].eq("fetuses_text")
    value = value.mask(in_words, _fetuses_in_words(tables, role, table, in_words))
    table["measure"] = table["measure"].mask(in_words, "fetuses")

    last_word = {name: name.rpartition("_")[2] for name in REPORT_FIELDS}
    limited_by = table["measure"].map(last_word)
    low = limited_by.map(_LOWEST).astype("float64")
    high = limited_by.map(_HIGHEST).astype("float64")
    impossible = value.notna() & ~value.between(low, high)
    tables.note(
        int(impossible.sum()),
        "values of structured reports are beyond anything possible and were not used",
    )
    return table.assign(value=value.mask(impossible)).dropna(subset="value")


def _rows_of_interest(tables: Tables, role: str) -> pd.DataFrame:
    """Rows of a known measurement that is anybody's and raised no alert, with ``measure``."""
    table = tables.read(role)
    qualified = table["name"] + ", " + table["qualifier"]
    name = table["name"].where(table["qualifier"].isna(), qualified)
    measure_of = {
        spelling: measure
        for measure, spellings in tables.mapping.measurements.items()
        for spelling in spellings
    }
    measure = name.map(measure_of).astype("str")
    usable = measure.notna() & table["study_id"].notna() & table["alert"].isna()
    table = table[usable].assign(measure=measure[usable])
    # a report without a maker is no exam's, but its twins are twins all the same
    table["maker"] = makers(table["maker"]).fillna(NO_MAKER)
    return table


def _days_of(text: pd.Series) -> pd.Series:
    """Days in '27w6d' or '27.9 wk'; missing where it says anything else."""
    parts = text.str.strip().str.extract(f"^{_WEEKS_AND_DAYS}$", flags=re.IGNORECASE)
    parts = parts.astype("float64")
    weeks, days = parts[0], parts[1]
    return weeks * 7 + days.fillna(0)


def _fetuses_in_words(
    tables: Tables, role: str, table: pd.DataFrame, in_words: pd.Series
) -> pd.Series:
    """Number of fetuses in the text of the rows ``in_words``: 1 for 'sole', 2 for 'twin'."""
    words = table["text"].str.lower().where(in_words)
    fetuses = pd.Series(np.nan, index=table.index)
    fetuses = fetuses.mask(words.str.contains("twin").eq(True), 2.0)
    fetuses = fetuses.mask(words.str.contains("sole").eq(True), 1.0)
    unclear = words.notna() & fetuses.isna()
    cells = bad_cells(table, "text", unclear, "text with 'sole' or 'twin' in it")
    tables.blame(role, cells)
    return fetuses


def _unlike_repeats(tables: Tables, rows: pd.DataFrame) -> pd.Series:
    """Rows of an age that one report gives twice, more than a week apart, with a note.

    Only 'sr_ga_days' may differ: each of its rows is the age by another measurement.
    """
    values = rows.groupby(_MEASURED)["value"]
    apart = (values.transform("max") - values.transform("min")).gt(_APART_DAYS)
    apart &= rows["measure"].str.endswith("_days")
    apart &= rows["measure"].ne("sr_ga_days")
    tables.note(
        len(rows.loc[apart, _MEASURED].drop_duplicates()),
        "ages in structured reports are given twice, more than "
        f"{_APART_DAYS:g} days apart, and were not used",
    )
    return apart


def _one_value_each(rows: pd.DataFrame) -> pd.Series:
    """Value by visit, maker and measure.

    Where the scanner derived one by the measure's own rule, as 'Mean', it counts; else the rule is
    applied to the repeats.
    """
    rule = rows["measure"].map(REPORT_FIELDS)
    applied = []
    for name in set(REPORT_FIELDS.values()):
        repeats = rows[rule.eq(name)].groupby(_MEASURED)["value"]
        applied.append(repeats.agg(_fetuses_of_repeats if name == "nof" else name))
    by_scanner = rows["derivation"].str.lower().eq(rule) & rule.ne("nof")
    derived = rows[by_scanner].groupby(_MEASURED)["value"].first()
    return derived.combine_first(pd.concat(applied))


def _fetuses_of_repeats(counts: pd.Series) -> float:
    """Number of fetuses that repeated counts mean: their mode, or of an even number the largest.

    An even number of rows were written fetus by fetus.
    """
    values = counts.tolist()
    return max(values) if len(values) % 2 == 0 else mode(values)
