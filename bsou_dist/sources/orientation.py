"""Frames as PLUS and 3D Slicer store them to frames as a screen shows them.

The probe's marked side is left and what is far from it is down. The words are those of PLUS
(`UltrasoundImageOrientation`, in its vtkIGSIOVideoFrame): the first letter is the direction of the
columns, the second that of the rows, M and U for the marked and unmarked side, F and N for far and
near. A third, of the direction of a sequence, says nothing of a frame.
"""

from __future__ import annotations

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
