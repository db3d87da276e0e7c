"""Makers and models by one name each, however a device spells itself."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pandas as pd

NO_MAKER = "Unknown"
NO_MODEL = "Unnamed"
# five digits in a row may be somebody's number
_PLAIN = re.compile(r"(?!.*\d{5})[A-Za-z0-9 +.-]{1,40}")
_MAKERS = ("Butterfly", "Sonosite", "Clarius", "EchoNous")
_GE = re.compile(
    r"\bge(ms|hc|[ _-]?(healthcare|medical|vingmed|ultrasound))?(?![a-z])|general electric",
    re.IGNORECASE,
)
_PROBE = re.compile(r" probe$", re.IGNORECASE)
_MODELS = ("V830", "Voluson-S", "Voluson-E8", "LOGIQe", "Turbo", "C3HD", "iQ", "iQ+", "iQ3")
_MODEL_OF = {model.lower(): model for model in _MODELS}


def clean_maker(raw: str) -> str | None:
    """The maker in a maker string, whatever the case ('SonoSite, Inc.').

    Another maker stands as it is if its text is plain. Anything else may hold somebody's name or
    number: None.

    >>> clean_maker("GE Healthcare Austria GmbH & Co OG")
    'GE'
    """
    for maker in _MAKERS:
        if maker.lower() in raw.lower():
            return maker
    return "GE" if _GE.search(raw) else _if_plain(raw)


def clean_model(raw: str) -> str | None:
    """The model without the word 'Probe' and without blanks; None if its text is not plain.

    Models that the corpus is known to hold have one spelling, whatever the case.

    >>> clean_model("iQ3 Probe")
    'iQ3'
    """
    model = _if_plain(raw)
    if model is None:
        return None
    name = _PROBE.sub("", model).replace(" ", "-")
    return _MODEL_OF.get(name.lower(), name)


def _if_plain(raw: str) -> str | None:
    return raw if _PLAIN.fullmatch(raw) else None


def each(cells: pd.Series, meaning: Mapping[str, str | None]) -> pd.Series:
    """Meaning of each cell by a table; missing stays missing."""
    return cells.map(meaning).astype("str")


def makers(raw: pd.Series) -> pd.Series:
    """``clean_maker`` of every cell."""
    return each(raw, {value: clean_maker(value) for value in raw.dropna().unique()})


def models(raw: pd.Series) -> pd.Series:
    """``clean_model`` of every cell."""
    return each(raw, {value: clean_model(value) for value in raw.dropna().unique()})
