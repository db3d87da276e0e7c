"""Makers and models by one name each, however a device spells itself."""

from __future__ import annotations

import pandas as pd

NO_MAKER, NO_MODEL = "Unknown", "Unnamed"
_MAKERS = ("Butterfly", "Sonosite", "Clarius", "EchoNous")


def clean_maker(raw: str) -> str:
    """The maker in a maker string: whatever the case ('SonoSite, Inc.'), but 'GE' only in capitals.

    >>> clean_maker("GE Healthcare Austria GmbH & Co OG")
    'GE'
    """
    for maker in _MAKERS:
        if maker.lower() in raw.lower():
            return maker
    return "GE" if "GE" in raw else raw


def clean_model(raw: str) -> str:
    """The model without the word 'Probe' and without blanks.

    >>> clean_model("iQ3 Probe")
    'iQ3'
    """
    return raw.removesuffix(" Probe").replace(" ", "-")


def each(cells: pd.Series, meaning: dict[str, str]) -> pd.Series:
    """Cells through a table of meanings; missing stays missing."""
    return cells.map(meaning).astype("str")


def makers(raw: pd.Series) -> pd.Series:
    """``clean_maker`` of every cell."""
    return each(raw, {value: clean_maker(value) for value in raw.dropna().unique()})


def models(raw: pd.Series) -> pd.Series:
    """``clean_model`` of every cell."""
    return each(raw, {value: clean_model(value) for value in raw.dropna().unique()})
