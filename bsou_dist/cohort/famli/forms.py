"""Case report forms: which one is a visit's, and what cells say in ways of their own."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bsou_dist.cohort.columns import COLUMNS, YOUNGEST_DAYS

_NO = ("0", "0.0", "no", "false", "n")
_ELIGIBLE = ("1", "1.0", "eligible")
_KG_PER_LB = 0.45359237
_M_PER_INCH = 0.0254

NEAR_DAYS = 7
"""Over so many days a form's labels still hold, once its ages are moved by the days between."""
LABELS_OF_A_DAY = (
    "ga_days",
    "ga_weeks",
    "ga_extra_days",
    "presentation",
    "placenta",
    "dvp_cm",
    "novice",
)
"""What a form says of its own day; the rest is true of the mother or of the pregnancy."""


def forms_of_visits(forms: pd.DataFrame, clips: pd.DataFrame) -> pd.DataFrame:
    """The form of each clip's visit, row by row of ``clips``.

    Of several forms of a study it is that of the clip's day, else one without a date, else the
    nearest. What a form of another day is joined for is for ``move_to_day`` to say.

    Args:
        forms: with ``study_id`` and ``form_day``, a row for each pair of the two.
        clips: with ``study_id`` and ``day``.

    Returns:
        The columns of ``forms`` and ``days_after``: from the form's day to the clip's, missing
        where the form has no date.
    """
    visits = clips[["study_id", "day"]].drop_duplicates()
    pairs = visits.merge(forms, on="study_id")
    pairs["days_after"] = pairs["day"] - pairs["form_day"]
    apart_days = pairs["days_after"].abs()
    # an undated form may well be of the very day, a dated one of another day is not
    order = apart_days.fillna(0.5)
    best = pairs.loc[order.sort_values(kind="stable").index]
    best = best.drop_duplicates(["study_id", "day"])
    of_clips = clips[["study_id", "day"]].merge(best, on=["study_id", "day"], how="left")
    return of_clips.set_axis(clips.index).drop(columns="day")


def move_to_day(form: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Make forms of another day say what is true on the clip's, in place.

    Ages are moved by up to ``NEAR_DAYS``; further away ``LABELS_OF_A_DAY`` become missing.

    Returns:
        Rows with a form of a near day, and of a far one.
    """
    apart_days = form["days_after"].abs()
    near = apart_days.between(1, NEAR_DAYS)
    far = apart_days.gt(NEAR_DAYS)
    moved_days = form["days_after"].where(near, 0.0)
    # a number that is no age, 0 or one in weeks, must not become one
    form["ga_days"] += moved_days.where(form["ga_days"].ge(YOUNGEST_DAYS), 0.0)
    form["ga_extra_days"] += moved_days
    labels = list(LABELS_OF_A_DAY)
    form[labels] = form[labels].mask(far, axis="index")
    return near, far


def says_yes(cells: pd.Series) -> pd.Series:
    """True where a flag is set: anything but empty, 0 or no, for it may hold who or what."""
    return cells.notna() & ~cells.str.lower().isin(_NO)


def is_ineligible(cells: pd.Series) -> pd.Series:
    """True where a visit is said to be anything else than eligible; empty says nothing."""
    return cells.notna() & ~cells.str.lower().isin(_ELIGIBLE)


def bmi(weight: pd.Series, height: pd.Series) -> pd.Series:
    """Body mass index in kg/m2; missing where no units make sense.

    The units are documented nowhere. Adults' heights in metres, inches and centimetres don't
    overlap, and whoever writes inches writes pounds, so the height tells the units of both.
    """
    inches = height.between(47, 87)
    metres = pd.Series(np.nan, index=height.index)
    metres = metres.mask(height.between(1.2, 2.2), height)
    metres = metres.mask(height.between(120, 220), height / 100)
    metres = metres.mask(inches, height * _M_PER_INCH)
    kilograms = weight.where(~inches, weight * _KG_PER_LB)
    index = kilograms / metres**2
    return index.where(index.between(COLUMNS["bmi"].low, COLUMNS["bmi"].high))
