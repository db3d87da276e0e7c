"""What does not move in a clip and stands out from what lies around it, or lies apart from the
tissue whatever it does: print, if any is left, among other things.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bsou_dist.prepare.bright_print import apart_from_tissue

_AROUND_PX = 11  # what a stroke of print is compared with; strokes are thinner
# standard deviations over time by which a pixel must keep to one side of what lies around it
_SPREAD = 1.0
_STANDS_OUT = 14  # grey levels that are left of it then
_SEEN_LEVEL = 12  # grey levels; outside the fan lossy codecs leave less
_GAP_PX = (5, 11)  # down and across: letters nearer than this are one word
_MIN_PIXELS = 12  # of strokes, in a word


@dataclass(frozen=True)
class Suspect:
    """A box with something still or apart in it, `y1` and `x1` exclusive, and how much: grey levels
    summed over its strokes.
    """

    y0: int
    x0: int
    y1: int
    x1: int
    weight: float


@dataclass(frozen=True)
class Stillness:
    """A clip over its time.

    Attributes:
        middle: its middle frame, uint8 (H, W), as are the others.
        brightest: each pixel's maximum, contrast stretched: print that moves or changes shows here.
        mean: each pixel's mean, contrast stretched: speckle blurs, and print does not.
        residue: what always stands out, and what lies apart, contrast stretched.
        suspects: where, heaviest first.
    """

    middle: NDArray[np.uint8]
    brightest: NDArray[np.uint8]
    mean: NDArray[np.uint8]
    residue: NDArray[np.uint8]
    suspects: tuple[Suspect, ...]

    @property
    def weight(self) -> float:
        """How suspicious the clip is; comparable between clips of one size."""
        return sum(suspect.weight for suspect in self.suspects)


def stillness(frames: NDArray[np.uint8]) -> Stillness:
    """Look over grey frames (F, H, W), F >= 2, for thin shapes that every frame has in the same
    place, and for small bright ones apart from the tissue, in any frame.
    """
    brightest = frames.max(axis=0)
    seen = brightest > _SEEN_LEVEL
    fan = ndimage.binary_erosion(ndimage.binary_fill_holes(seen), iterations=2)
    residue = np.maximum(
        _standing_out(frames, fan), np.where(apart_from_tissue(brightest, seen), brightest, 0)
    )
    strokes = residue >= _STANDS_OUT
    words, _ = ndimage.label(
        ndimage.binary_closing(np.pad(strokes, max(_GAP_PX)), np.ones(_GAP_PX))
    )
    inner = slice(max(_GAP_PX), -max(_GAP_PX))
    words = words[inner, inner]
    suspects = []
    for number, place in enumerate(ndimage.find_objects(words), start=1):
        if place is None:
            continue
        drawn = strokes[place] & (words[place] == number)
        if drawn.sum() >= _MIN_PIXELS:
            rows, columns = place
            suspects.append(
                Suspect(
                    rows.start,
                    columns.start,
                    rows.stop,
                    columns.stop,
                    float(residue[place][drawn].sum()),
                )
            )
    suspects.sort(key=lambda suspect: suspect.weight, reverse=True)
    return Stillness(
        frames[len(frames) // 2],
        _stretched(brightest),
        _stretched(frames.mean(axis=0)),
        _stretched(residue),
        tuple(suspects),
    )


def _standing_out(frames: NDArray[np.uint8], fan: NDArray[np.bool_]) -> NDArray[np.float32]:
    """By how many grey levels each pixel of the fan differs from its surroundings, always to the
    same side.
    """
    inside = fan.astype(np.float32)
    share = np.maximum(ndimage.uniform_filter(inside, _AROUND_PX), 1e-3)
    total, squares = np.zeros_like(inside), np.zeros_like(inside)
    for frame in frames:
        seen = frame * inside
        contrast = (seen - ndimage.uniform_filter(seen, _AROUND_PX) / share) * inside
        total += contrast
        squares += contrast**2
    mean = total / len(frames)
    spread = np.sqrt(np.maximum(squares / len(frames) - mean**2, 0))
    return np.maximum(np.abs(mean) - _SPREAD * spread, 0)


def _stretched(picture: NDArray[np.uint8 | np.floating]) -> NDArray[np.uint8]:
    """0 to 255 from black to the brightest thousandth."""
    white = max(float(np.quantile(picture, 0.999)), float(_STANDS_OUT))
    return np.clip(picture * (255.0 / white), 0, 255).astype(np.uint8)
