"""What the tables of a layout can tell, by the role that a table plays."""

from __future__ import annotations

from dataclasses import replace

from bsou_dist.cohort.columns import COLUMNS, Column

REPORT_FIELDS: dict[str, str] = {
    "fetuses": "nof",
    "fetuses_text": "nof",
    "dvp_cm": "max",
    **dict.fromkeys(
        (
            "ga_lmp_days",
            "ga_edd_days",
            "sr_ga_days",
            "cua_days",
            "aua_days",
            "ua_days",
            "crl_cm",
            "bpd_cm",
            "hc_cm",
            "ac_cm",
            "fl_cm",
        ),
        "mean",
    ),
}
"""Measurements of structured reports, and how repeats of one become one value. ``fetuses_text`` is
told in words.
"""

NUMBERS: dict[str, Column] = {
    **{name: column for name, column in COLUMNS.items() if column.kind == "number"},
    "ga_days": replace(
        COLUMNS["ga_days"], low=0
    ),  # FAMLI has zeros; they are told of and passed by
    **{
        column.name: column
        for column in (
            Column("frames", "number", low=0, high=1e6),
            Column("ga_weeks", "number", low=0, high=47, unit="weeks"),
            Column("ga_extra_days", "number", low=0, high=6, unit="days"),
            Column("height", "number", low=0, high=1000),
            Column("weight", "number", low=0, high=1000),
            Column("reported_fetuses", "number", low=1, high=5, whole=True),
            Column("final_fetuses", "number", low=1, high=5, whole=True),
        )
    },
}
"""Facts that are numbers. Height and weight are of unknown unit until ``bmi`` looks at them."""

_REPORT = (("study_id", "maker", "name", "number"), ("qualifier", "text", "derivation", "alert"))

TABLE_FIELDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "clips": (
        ("patient_id", "study_id"),
        ("tag_raw", "exam_id", "file_path", "exam_folder", "file_name", "maker", "model", "frames"),
    ),
    "studies": (("study_id",), ("ga_days", "split_stage2")),
    "forms": (
        ("study_id",),
        (
            "eligible",
            "ga_days",
            "ga_weeks",
            "ga_extra_days",
            "presentation",
            "placenta",
            "dvp_cm",
            "fetuses",
            "height",
            "weight",
            "novice",
        ),
    ),
    "spacing": (("file_name", "mm_per_px"), ("study_id",)),
    "reports": _REPORT,
    "sonosite_reports": _REPORT,
    "tag_corrections": (("file_name", "tag_raw"), ()),
    "twins": (("patient_id", "fetuses", "final_fetuses"), ("reported_fetuses",)),
}
"""Role of a table: the fields it must have, and those it may have."""


def check_role(role: str, fields: set[str], optional_fields: set[str]) -> None:
    """ValueError for an unknown role or field, or one that the role can't do without."""
    if role not in TABLE_FIELDS:
        raise ValueError(f"{role!r} is no role of a table; those are {', '.join(TABLE_FIELDS)}")
    needed, others = TABLE_FIELDS[role]
    unknown = sorted((fields | optional_fields) - {*needed, *others})
    if unknown:
        raise ValueError(
            f"tables.{role}: {unknown} are no fields of such a table; those are "
            f"{', '.join((*needed, *others))}"
        )
    absent = sorted(set(needed) - fields)
    if absent:
        raise ValueError(f"tables.{role}.columns lacks {', '.join(absent)}")
