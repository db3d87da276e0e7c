"""Cells of case report forms: yes and no, eligibility, and body size in unknown units."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bsou_dist.cohort.columns import COLUMNS

_NO = ("0", "0.0", "no", "false", "n")
_ELIGIBLE = ("1", "1.0", "eligible")
_KG_PER_LB = 0.45359237
_M_PER_INCH = 0.0254


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
