"""A cohort as its files give it, whichever reader made it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bsou_dist.cohort.bad_cells import BadCell
from bsou_dist.cohort.exclusions import FlowStep


@dataclass(frozen=True)
class RawCohort:
    """Rows of a cohort before labels are filled in, masked and checked.

    ``table`` has the contract columns, the split columns that the source has, and ``line``. A
    reader of several tables also says what it left out (``flow``) and how the file of clips is
    called (``clips_name``), to which the lines belong. ``set_aside`` are bad cells that are no
    error: each was taken as missing, or resolved by a rule.
    """

    table: pd.DataFrame
    bad: list[BadCell]
    notes: list[str]
    files: tuple[Path, ...]
    flow: tuple[FlowStep, ...] = ()
    clips_name: str = ""
    set_aside: tuple[BadCell, ...] = ()
