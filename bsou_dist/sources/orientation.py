"""Frames as PLUS and 3D Slicer store them to frames as a screen shows them.

The probe's marked side is left and what is far from it is down. The words are those of PLUS
(`UltrasoundImageOrientation`, in its vtkIGSIOVideoFrame): the first letter is the direction of the
columns, the second that of the rows, M and U for the marked and unmarked side, F and N for far and
near. A third, of the direction of a sequence, says nothing of a frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bsou_dist.sources.raw_clip import UnreadableClip

_UNKNOWN = ("", "XX")
_SIDEWAYS = "MU"
_IN_DEPTH = "FN"


class Orientation(NamedTuple):
    """What must be done to stored frames; rows and columns are swapped first."""

    swaps_rows_and_columns: bool = False
    mirrors_columns: bool = False
    mirrors_rows: bool = False

    def applied_to(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Frames (F, H, W) or (F, H, W, 3) as a screen shows them."""
        if self.swaps_rows_and_columns:
            frames = frames.swapaxes(1, 2)
        if self.mirrors_rows:
            frames = frames[:, ::-1]
        if self.mirrors_columns:
            frames = frames[:, :, ::-1]
        return np.ascontiguousarray(frames)


AS_STORED = Orientation()


def stated_orientation(text: str) -> Orientation:
    """What a header's words mean; frames stay as they are where it does not know.

    Raises:
        UnreadableClip: it says something that no 2D picture can be.
    """
    code = text.strip().upper()
    if code in _UNKNOWN:
        return AS_STORED
    axes, sequence = code[:2], code[2:]
    sideways = [letter for letter in axes if letter in _SIDEWAYS]
    in_depth = [letter for letter in axes if letter in _IN_DEPTH]
    if len(sideways) != 1 or len(in_depth) != 1 or sequence not in ("", "A", "D"):
        raise UnreadableClip(
            "its UltrasoundImageOrientation is none of MF, MN, UF, UN, FM, FU, NM and NU, with an "
            "A or D behind it or not"
        )
    return Orientation(
        swaps_rows_and_columns=axes[0] in _IN_DEPTH,
        mirrors_columns=sideways == ["U"],
        mirrors_rows=in_depth == ["N"],
    )


def orientation_note(source: str, statement: str) -> str:
    """A note about a statement that contradicts what is kept, or cannot be followed."""
    return f"orientation: {source} {statement}, and frames are kept as stored"


def direction_notes(
    source: str, directions: Sequence[Sequence[str]], column: int, row: int
) -> tuple[str, ...]:
    """A note where a direction matrix turns or mirrors frames against the way they are stored.

    Such a matrix says how frames lie in a space, the patient's or a tracker's, and not how a screen
    shows them: writers whose pictures are upright store -1 for a change of that space alone.

    Args:
        source: name of the matrix.
        directions: a vector of words for each axis.
        column: place of the axis of columns among them.
        row: that of the rows.
    """
    try:
        along_row = [float(word) for word in directions[column]]
        along_column = [float(word) for word in directions[row]]
    except (IndexError, ValueError):  # 'none' among them
        return ()
    if min(len(along_row), len(along_column)) < 2:
        return ()
    is_upright = _leads_along(along_row, 0) and _leads_along(along_column, 1)
    return () if is_upright else (orientation_note(source, "turns or mirrors them"),)


def _leads_along(vector: list[float], axis: int) -> bool:
    """Whether a vector leads in the positive direction of an axis more than in any other."""
    return vector[axis] > 0 and vector[axis] == max(abs(step) for step in vector)
