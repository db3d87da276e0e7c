"""FAMLI sweep tags: which canonical sweep, if any, and which class of clip a tag names.

Source of the tag sets: OBUS-GHL ``sweep_utils.py`` and README tables 4 and 5, and the us-famli-pl
tag tables.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class TagMeaning(NamedTuple):
    """Meaning of a tag; None where it says nothing. ``novice`` is whether it marks one."""

    sweep: str | None
    clip_class: str | None
    novice: bool


# ASS* and CALC* are assumed or calculated tags; O for 0 and I for 1 are slips of text recognition
_CANONICAL = {
    "M": "M M0 M1 ASSM CALCM ASSUMEDM ASSBS_M IM",
    "L": "L L0 L1 L2 L3 LO LI ASSL0 ASSL1 CALCL0 CALCL1 ASSBS_L0 ASSBS_L1 IL0 ILO",
    "R": "R R0 R1 R2 R3 RO RI ASSR0 ASSR1 CALCR0 CALCR1 ASSBS_R0 ASSBS_R1 IR0 IRO",
    "C1": "C1 CI ASSC1 CALCC1 IC1",
    "C2": "C2 ASSC2 CALCC2 IC2",
    "C3": "C3 ASSC3 CALCC3",
}
_BLIND_OF_NO_TYPE = (
    "L15 LI5 ML L45 R15 RI5 MR R45 C C4 C5 C6 ASSC4 CALCC4 ASSBS RTA RTB RTC FA1 FA2"
)
_UNKNOWN = frozenset({"UNDECIDED", "NO TAG"})
# a letter at the end names the fetus of a multiple
_BIOMETRIC = re.compile(r"(GS|YS|CRL|BPD|HC|AC|FL|HL|TCD)[1-3A-D]?")

BLIND_TAGS: dict[str, str | None] = {
    **{tag: sweep for sweep, tags in _CANONICAL.items() for tag in tags.split()},
    **dict.fromkeys(_BLIND_OF_NO_TYPE.split()),
}
"""Blind-sweep tags of an expert (capitals) and their canonical sweep, None where they have none.

A leading N makes them a novice's.
"""


def read_tag(tag: str) -> TagMeaning:
    """Read a tag, whatever its case. A tag that no table knows is a diagnostic clip.

    >>> read_tag("NC2")
    TagMeaning(sweep='C2', clip_class='blind', novice=True)
    """
    name = tag.strip().upper()
    if name in _UNKNOWN:
        return TagMeaning(None, None, False)
    if name == "N":  # the corpus's own code has it among the middle sweeps
        return TagMeaning("M", "blind", True)
    if name in BLIND_TAGS:
        return TagMeaning(BLIND_TAGS[name], "blind", False)
    after_n = name.removeprefix("N")
    if after_n != name and after_n in BLIND_TAGS:
        return TagMeaning(BLIND_TAGS[after_n], "blind", True)
    clip_class = "biometric" if _BIOMETRIC.fullmatch(name) else "diagnostic"
    return TagMeaning(None, clip_class, False)
