"""Dates of forms and reports, in the ways that the corpus writes them, as days since 1970."""

from __future__ import annotations

import pandas as pd

DATE_EXAMPLES = "a date such as 2024-01-31 or 31JAN2024, or empty"

# A day and a month in figures alone could be either, so no such form is among them.
_FORMATS = ("%Y-%m-%d", "%Y%m%d", "%d%b%Y", "%d-%b-%Y", "%Y/%m/%d")
_TIME_OF_DAY = r"[ T:]\d{1,2}:\d{2}(:\d{2})?(\.\d*)?$"


def days_of_dates(cells: pd.Series) -> pd.Series:
    """Days since 1970 of dates as text, float64; missing where the text is no date."""
    text = cells.str.strip().str.replace(_TIME_OF_DAY, "", regex=True)
    dates = pd.Series(pd.NaT, index=cells.index, dtype="datetime64[ns]")
    for written in _FORMATS:
        dates = dates.fillna(pd.to_datetime(text, format=written, errors="coerce"))
    return (dates - pd.Timestamp(0)).dt.days.astype("float64")
