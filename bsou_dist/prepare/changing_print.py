"""Print that changes beside the fan: it blinks, scrolls or counts, and so keeps changing as tissue.

Where print comes and goes a pixel has two greys, that of the ink and that of the ground, and seldom
any other. Speckle takes every grey between its extremes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bsou_dist.sources.raw_clip import even_indices

_FRAMES = 16  # so many tell two greys from many
_LEAST_FRAMES = 6  # in fewer, speckle has two greys by chance
_LATTICE_PX = 2  # every second row and column is enough, but in small pictures
_SMALL_PX = 128  # shorter side
_LEAST_CHANGE = 24  # grey levels; print that changes by less cannot be read
# Measured on phantom and real clips: 0 to 12 % of the tissue's pixels are at two greys by these
# rules, 62 to 100 % of print's that blinks, scrolls or runs, compressed or not.
_NEAR = 1 / 8  # of a pixel's range: so near to its darkest or brightest it counts as at that grey
_NEAR_LEVELS = 6
_AT_TWO_GREYS = 0.75  # of the frames
_AT_GROUND = 0.3  # of the frames, at the darker grey
_AT_INK = 0.05  # of the frames, at the brighter one
_DENSITY = 0.4  # of what changes in a window
# Of all that changes; more is a dark scene that something bright passes, not print.
_LARGEST_SHARE = 0.25


def changing_print(
    frames: NDArray[np.uint8], changing: NDArray[np.bool_], window_px: int
) -> NDArray[np.bool_]:
    """Mask of the areas whose changing pixels are mostly print's, (H, W).

    Args:
        frames: grey, (F, H, W).
        changing: the pixels that keep changing, (H, W).
        window_px: side of the window in which pixels are judged together.
    """
    none = np.zeros_like(changing)
    chosen = even_indices(len(frames), _FRAMES)
    if len(chosen) < _LEAST_FRAMES:
        return none
    step = 1 if min(changing.shape) < _SMALL_PX else _LATTICE_PX
    lattice = np.s_[::step, ::step]
    changing_here = changing[lattice]
    series = np.stack([frames[number][lattice][changing_here] for number in chosen])
    darkest, brightest = series.min(axis=0), series.max(axis=0)
    span = brightest - darkest
    near = np.maximum(np.uint8(_NEAR_LEVELS), (span * np.float32(_NEAR)).astype(np.uint8))
    at_ground = (series - darkest <= near).mean(axis=0)
    at_ink = (brightest - series <= near).mean(axis=0)
    is_print = (
        (span >= _LEAST_CHANGE)
        & (at_ground + at_ink >= _AT_TWO_GREYS)
        & (at_ground >= _AT_GROUND)
        & (at_ink >= _AT_INK)
    )
    if not is_print.any() or is_print.mean() > _LARGEST_SHARE:
        return none
    two_greys = np.zeros(changing_here.shape, np.float32)
    two_greys[changing_here] = is_print
    side = max(3, window_px // step)
    print_share = ndimage.uniform_filter(two_greys, side)
    changing_share = ndimage.uniform_filter(changing_here.astype(np.float32), side)
    is_printed = (print_share > 0.01) & (print_share >= _DENSITY * changing_share)
    if not is_printed.any():
        return none
    height, width = changing.shape
    whole = is_printed.repeat(step, axis=0).repeat(step, axis=1)
    return whole[:height, :width]
