"""What stands in shards for the sites and devices of a cohort table.

Both are free text: a site may be a village, and a device somebody's own. What shards say of them is
a code that the packer's config or the cohort's column map lists, or else a pseudonym.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping

import pandas as pd
from pydantic import Field, field_validator

from bsou_dist.common.strict_config import StrictConfig
from bsou_dist.shards.pseudonyms import Pseudonymizer

CODED_COLUMNS = ("site", "device")

_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,31}")
_LONG_NUMBER = re.compile(r"\d{6}")  # may be a date or somebody's number


class WordConfig(StrictConfig):
    """Which words of a cohort may be read in its shards.

    Of listed words case does not count, and several may have one code. This section is private: it
    does not go into the shards.
    """

    site: dict[str, str] = Field(default_factory=dict)
    """Codes by the table's sites."""
    device: dict[str, str] = Field(default_factory=dict)
    """Codes by the table's devices."""
    in_clear: bool = False
    """Leave sites and devices as the table has them."""

    @field_validator("site", "device")
    @classmethod
    def _plain(cls, codes: dict[str, str]) -> dict[str, str]:
        for code in codes.values():
            if not is_code(code):
                raise ValueError(
                    f"a code is {code!r}; it must be up to 32 letters, digits, spaces, dots, "
                    "hyphens and underscores, without a number of six digits"
                )
        return codes


def is_code(word: str) -> bool:
    """Whether a word is plain enough to be read by whoever gets the shards."""
    return _CODE.fullmatch(word) is not None and not _LONG_NUMBER.search(word)


def code_words(
    cohort_table: pd.DataFrame,
    config: WordConfig,
    listed: Mapping[str, Collection[str]],
    pseudonymizer: Pseudonymizer,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Put codes in the place of a table's sites and devices.

    Args:
        cohort_table: the table.
        config: the codes that the packer lists.
        listed: by column, those that the cohort's column map has brought into the table.
        pseudonymizer: the pseudonyms of all other words.

    Returns:
        The table with codes, and the words that have gone: a row each with `column`, `word` and
        `code`.
    """
    coded = cohort_table.copy(deep=False)
    rows: list[tuple[str, str, str]] = []
    pseudonyms: dict[str, Callable[[object], str]] = {
        "site": pseudonymizer.site,
        "device": pseudonymizer.device,
    }
    for column in CODED_COLUMNS:
        if config.in_clear or column not in coded:
            continue
        own_codes = {word.casefold(): code for word, code in getattr(config, column).items()}
        codes: dict[str, str] = {}
        for word in coded[column].dropna().unique():
            text = str(word)
            if text.casefold() in own_codes:
                codes[text] = own_codes[text.casefold()]
            elif text in listed.get(column, ()) and is_code(text):
                codes[text] = text
            else:
                codes[text] = pseudonyms[column](text)
        coded[column] = coded[column].map(codes, na_action="ignore")
        rows += [(column, word, code) for word, code in sorted(codes.items())]
    return coded, pd.DataFrame(rows, columns=["column", "word", "code"])
