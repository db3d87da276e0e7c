"""The columns of a cohort table: what each holds, in which unit, and what is accepted."""

from __future__ import annotations

from dataclasses import dataclass

from bsou_dist.common.sweeps import SWEEPS


@dataclass(frozen=True)
class Column:
    """One column of a cohort table.

    A text column with `allowed` takes only those values; a number lies in [low, high].
    """

    name: str
    kind: str = "text"  # or "number"
    required: bool = False
    allowed: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    whole: bool = False
    unit: str = ""


def _number(name: str, low: float, high: float, unit: str = "", whole: bool = False) -> Column:
    return Column(name, kind="number", low=low, high=high, unit=unit, whole=whole)


# sweeps are made later, and no pregnancy has as many weeks: a lower number is none, or in weeks
YOUNGEST_DAYS = 43
SPLITS = ("train", "valid", "test")
SPLIT_COLUMNS = ("split_stage1", "split_stage2", "split_obese", "split_handheld")

COLUMNS: dict[str, Column] = {
    column.name: column
    for column in (
        Column("patient_id", required=True),
        Column("study_id", required=True),
        Column("exam_id"),
        Column("path", required=True),
        Column("frame_range"),
        Column("tag_raw"),
        Column("sweep", allowed=SWEEPS),
        Column("clip_class", allowed=("blind", "biometric", "diagnostic")),
        _number("ga_days", YOUNGEST_DAYS, 330, "days"),
        Column("ga_source"),
        Column("presentation", allowed=("cephalic", "non_cephalic")),
        Column("placenta", allowed=("anterior", "posterior")),
        _number("dvp_cm", 0, 30, "cm"),
        _number("fetuses", 1, 5, whole=True),
        _number("bmi", 10, 80, "kg/m2"),
        Column("site"),
        Column("device"),
        Column("operator", allowed=("expert", "novice")),
        _number("visit_day", 0, 20_000, "days"),
        _number("mm_per_px", 0.01, 20, "mm"),
    )
}
"""Contract columns, in the order of the table that ``read_cohort`` returns."""

OPTIONAL_SPLITS: dict[str, Column] = {
    name: Column(name, allowed=SPLITS[:2] if name == "split_stage1" else SPLITS)
    for name in SPLIT_COLUMNS
}
"""Split columns; kept only where the file has them. Stage 1 has no test split."""

EXAM_LABELS = ("ga_days", "presentation", "placenta", "dvp_cm", "fetuses")
"""Facts of one visit: two clips of one exam can't hold different values."""

MASKED_FOR_MULTIPLES = ("presentation", "placenta", "dvp_cm")
"""Labels that are not defined for the exam as a whole when there is more than one fetus."""

MISSING = frozenset({"", "-88", "-99", "-9999", "none", "unknown", "nan"})
"""Cells (lower case) that mean 'not recorded' and are never a class or a number."""

CIRCULAR_GA_SOURCES = (
    "biometry",
    "hadlock",
    "sr_ga",
    "sr_crl",
    "cua",
    "aua",
    "ua",
    "ga_efw",
    "edd_aua",
    "edd_ga",
)
"""Values of ``ga_source`` (lower case) that dated the scan by its own biometry.

A model that reads the same scan would be graded against a function of its own input. ``crl`` alone
means a first-trimester scan of an earlier visit and is not circular; a structured report's own CRL
is ``sr_crl``.
"""
