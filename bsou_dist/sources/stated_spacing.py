"""What states a clip's spacing, and what is said where two statements disagree."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

SPACING_TOLERANCE = 0.02
"""Share by which two statements may differ, as rounded ones do; a biometry's error is larger."""


class StatedSpacing(NamedTuple):
    """Width and height of a pixel in mm, and what states them."""

    source: str
    across_mm: float
    down_mm: float


def disagreement_notes(
    kept: StatedSpacing | None, others: Iterable[StatedSpacing]
) -> tuple[str, ...]:
    """A note for each of `others` that differs from the `kept` one by more than the tolerance."""
    if kept is None:
        return ()
    notes = []
    for other in others:
        across = other.across_mm / kept.across_mm
        down = other.down_mm / kept.down_mm
        factor = max(across, down, key=lambda ratio: max(ratio, 1 / ratio))
        if max(factor, 1 / factor) > 1 + SPACING_TOLERANCE:
            notes.append(
                f"scale: {other.source} says {factor:.3g} times what {kept.source} says, "
                "which counts"
            )
    return tuple(notes)
