"""Places in a clip where print may be left.

Print does not move and stands out from what lies around it, or it lies apart from the tissue,
whatever it does, or it stands in frames that are unlike the rest. Other things do so too, so a
human must look.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bsou_dist.inspection.apart import apart_from_tissue
from bsou_dist.prepare.odd_frames import odd_frames

_AROUND_PX = 11  # what a stroke of print is compared with; strokes are thinner
# Standard deviations over time by which a pixel must keep to one side of what lies around it.
_SPREAD = 1.0
_STANDS_OUT = 14  # grey levels that are left of it then
_SEEN_LEVEL = 12  # grey levels; outside the fan lossy codecs leave less
_GAP_PX = (5, 11)  # down and across: letters nearer than this are one word
_MIN_PIXELS = 12  # of strokes, in a word


@dataclass(frozen=True)
class Suspect:
    """A box with something still or apart in it.

    `y1` and `x1` are exclusive; `weight` is how much it holds: grey levels summed over its strokes.
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
        unlike: the frame that differs most from the clip's mean.
        odd_frames: how many frames show another screen, as far as a program can tell.
        suspects: the places where something stands out or lies apart, heaviest first.
    """

    middle: NDArray[np.uint8]
    brightest: NDArray[np.uint8]
    mean: NDArray[np.uint8]
    residue: NDArray[np.uint8]
    unlike: NDArray[np.uint8]
    odd_frames: int
    suspects: tuple[Suspect, ...]

    @property
    def weight(self) -> float:
        """How suspicious the clip is; comparable between clips of one size."""
        of_places = sum(suspect.weight for suspect in self.suspects)
        return of_places + self.odd_frames * 255.0 * self.unlike.size  # a page goes before all


def stillness(frames: NDArray[np.uint8]) -> Stillness:
    """Look over a clip for print: thin shapes that never move, and bright ones apart from tissue.

    Args:
        frames: grey, (F, H, W), F >= 2. What never moves is in the same place in all of them; what
            lies apart may be in any.
    """
    brightest = frames.max(axis=0)
    seen = brightest > _SEEN_LEVEL
    fan = ndimage.binary_erosion(ndimage.binary_fill_holes(seen), iterations=2)
    apart = np.where(apart_from_tissue(brightest, seen), brightest, 0)
    residue = np.maximum(_standing_out(frames, fan), apart)
    mean = frames.mean(axis=0)
    return Stillness(
        middle=frames[len(frames) // 2],
        brightest=_stretched(brightest),
        mean=_stretched(mean),
        residue=_stretched(residue),
        unlike=_most_unlike(frames, mean),
        odd_frames=int(np.count_nonzero(odd_frames(frames))),
        suspects=tuple(_suspects(residue)),
    )


def _suspects(residue: NDArray[np.floating]) -> list[Suspect]:
    """A box for each word of strokes in a residue (H, W), heaviest first."""
    strokes = residue >= _STANDS_OUT
    words = _words(strokes)
    suspects = []
    for number, place in enumerate(ndimage.find_objects(words), start=1):
        if place is None:
            continue
        drawn = strokes[place] & (words[place] == number)
        if drawn.sum() < _MIN_PIXELS:
            continue
        rows, columns = place
        weight = float(residue[place][drawn].sum())
        suspects.append(Suspect(rows.start, columns.start, rows.stop, columns.stop, weight))
    suspects.sort(key=lambda suspect: suspect.weight, reverse=True)
    return suspects


def _words(strokes: NDArray[np.bool_]) -> NDArray[np.int32]:
    """The number of the word that each pixel belongs to, from 1, or 0 for none, (H, W)."""
    margin_px = max(_GAP_PX)  # or closing would erode what touches the picture's edge
    padded = np.pad(strokes, margin_px)
    words, _ = ndimage.label(ndimage.binary_closing(padded, np.ones(_GAP_PX)))
    return words[margin_px:-margin_px, margin_px:-margin_px]


def _most_unlike(frames: NDArray[np.uint8], mean: NDArray[np.floating]) -> NDArray[np.uint8]:
    """The frame that differs most from the mean over time."""
    differences = [float(np.abs(frame - mean).mean()) for frame in frames]
    return frames[int(np.argmax(differences))]


def _standing_out(frames: NDArray[np.uint8], fan: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Grey levels by which pixels of the fan always differ from their surroundings to one side."""
    inside = fan.astype(np.float32)
    # Means over the part of a window that lies in the fan; the floor keeps empty ones from 0 / 0.
    inside_share = np.maximum(ndimage.uniform_filter(inside, _AROUND_PX), 1e-3)
    total = np.zeros_like(inside)
    total_of_squares = np.zeros_like(inside)
    for frame in frames:
        seen = frame * inside
        around = ndimage.uniform_filter(seen, _AROUND_PX) / inside_share
        contrast = (seen - around) * inside
        total += contrast
        total_of_squares += contrast**2
    mean = total / len(frames)
    variance = np.maximum(total_of_squares / len(frames) - mean**2, 0)
    spread = np.sqrt(variance)
    return np.maximum(np.abs(mean) - _SPREAD * spread, 0)


def _stretched(picture: NDArray[np.uint8 | np.floating]) -> NDArray[np.uint8]:
    """0 to 255 from black to the brightest thousandth."""
    white = max(float(np.quantile(picture, 0.999)), float(_STANDS_OUT))
    return np.clip(picture * (255.0 / white), 0, 255).astype(np.uint8)
