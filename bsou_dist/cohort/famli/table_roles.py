"""Fields that the tables of a layout can hold, by the role that a table plays."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from bsou_dist.cohort.columns import COLUMNS, Column

_AGES = (
    "ga_edd_days",
    "ga_conception_days",
    "ga_lmp_days",
    "sr_ga_days",
    "cua_days",
    "aua_days",
    "ua_days",
)
_LENGTHS = ("crl_cm", "bpd_cm", "hc_cm", "ac_cm", "fl_cm")

REPORT_FIELDS: dict[str, str] = {
    "fetuses": "nof",
    "fetuses_text": "nof",
    "dvp_cm": "max",
    **dict.fromkeys((*_AGES, *_LENGTHS), "mean"),
}
"""Measurements of structured reports, and how repeats of one become one value.

``nof`` is the rule for numbers of fetuses. ``fetuses_text`` is a number in words.
"""

_NUMBERS_OF_TABLES = (
    Column("frames", "number", low=0, high=1e6),
    Column("ga_weeks", "number", low=0, high=47, unit="weeks"),
    Column("ga_extra_days", "number", low=0, high=6, unit="days"),
    Column("height", "number", low=0, high=1000),
    Column("weight", "number", low=0, high=1000),
    Column("reported_fetuses", "number", low=1, high=5, whole=True),
    Column("final_fetuses", "number", low=1, high=5, whole=True),
    Column("multiple", "number", low=0, high=5),
    *(Column(name, "number", low=0, high=COLUMNS["ga_days"].high, unit="days") for name in _AGES),
    *(Column(name, "number", low=0, high=60, unit="cm") for name in _LENGTHS),
)

NUMBERS: dict[str, Column] = {
    **{name: column for name, column in COLUMNS.items() if column.kind == "number"},
    # FAMLI has ages of zero: dating notes and skips them, they are no errors
    "ga_days": replace(COLUMNS["ga_days"], low=0),
    **{column.name: column for column in _NUMBERS_OF_TABLES},
}
"""Fields that are numbers. Height and weight are of unknown unit until ``bmi`` looks at them."""


class RoleFields(NamedTuple):
    """Fields that a table of one role must have, and those it may have."""

    needed: tuple[str, ...]
    optional: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """Both, the needed ones first."""
        return (*self.needed, *self.optional)


_REPORT = RoleFields(
    needed=("study_id", "maker", "name", "number"),
    optional=("qualifier", "text", "derivation", "alert"),
)
_PLACE_OF_CLIP = ("exam_id", "file_path", "exam_folder", "file_name")
DATES_OF_FORM = ("form_day", "due_date")
"""Fields of a form that hold dates."""
_AGE_OF_FORM = ("ga_days", "ga_weeks", "ga_extra_days")
_LABELS_OF_FORM = ("presentation", "placenta", "dvp_cm", "fetuses")

TABLE_FIELDS: dict[str, RoleFields] = {
    "clips": RoleFields(
        needed=("patient_id", "study_id"),
        optional=(
            "tag_raw",
            *_PLACE_OF_CLIP,
            "study_date",
            "study_time",
            "maker",
            "model",
            "frames",
            "mm_per_px",
        ),
    ),
    "studies": RoleFields(needed=("study_id",), optional=("ga_days", "split_stage2")),
    "forms": RoleFields(
        needed=("study_id",),
        optional=(
            "eligible",
            *DATES_OF_FORM,
            *_AGE_OF_FORM,
            *_LABELS_OF_FORM,
            "height",
            "weight",
            "novice",
        ),
    ),
    "spacing": RoleFields(needed=("file_name", "mm_per_px"), optional=("study_id",)),
    "reports": _REPORT,
    "sonosite_reports": _REPORT,
    # a row per visit with a column for each measurement, whatever the maker
    "wide_reports": RoleFields(needed=("study_id",), optional=("multiple", *_AGES, *_LENGTHS)),
    "tag_corrections": RoleFields(needed=("file_name", "tag_raw")),
    "twins": RoleFields(
        needed=("patient_id", "fetuses", "final_fetuses"), optional=("reported_fetuses",)
    ),
}


def check_role(role: str, fields: set[str], optional_fields: set[str]) -> None:
    """ValueError for an unknown role or field, or one that the role can't do without."""
    if role not in TABLE_FIELDS:
        raise ValueError(f"{role!r} is no role of a table; those are {', '.join(TABLE_FIELDS)}")
    known = TABLE_FIELDS[role]
    unknown = sorted((fields | optional_fields) - set(known.all))
    if unknown:
        raise ValueError(
            f"tables.{role}: {unknown} are no fields of such a table; those are "
            f"{', '.join(known.all)}"
        )
    absent = sorted(set(known.needed) - fields)
    if absent:
        raise ValueError(f"tables.{role}.columns lacks {', '.join(absent)}")
