"""Frames that show another screen than the rest of the clip: a registration page, a menu.

Such a page stands in the clip's first, last or a few frames. It shows a name within the fan's
outline, where no mask that serves all frames can cover it, so those frames are left out whole.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bsou_dist.prepare.glyphs import has_rows_of_glyphs

_LATTICE_SIDE = 48  # so many rows and columns are enough for a share
_LEAST_FRAMES = 4  # fewer have no rest to differ from
_STILL_CHANGE = 4  # grey levels from one frame to the next, in the median over the clip
_OTHER_LEVEL = 24  # grey levels; a still pixel that differs by more shows something else
_OTHER_SHARE = 0.15  # of the still pixels; a clock, a message or a ruler changes less
# A page has one ground where tissue has speckle. So has a probe in the air, but no print on it.
_FLAT_LEVELS = 2
_FLAT_SHARE = 0.6  # of the moving pixels
_MORE_FLAT = 0.25  # share by which a page is flatter than the clip's middle frame


def odd_frames(frames: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which frames (F,) show another screen than most of the clip.

    A frame is odd if much of what stands still in the clip is different in it, or if rows of glyphs
    stand on one even grey where the clip shows tissue.

    Args:
        frames: grey, (F, H, W).
    """
    count, height, width = frames.shape
    odd = np.zeros(count, np.bool_)
    if count < _LEAST_FRAMES:
        return odd
    down = max(1, height // _LATTICE_SIDE)
    across = max(1, width // _LATTICE_SIDE)
    sampled = np.ascontiguousarray(frames[:, ::down, ::across])
    usual = _middle(sampled)
    from_usual = np.maximum(sampled, usual) - np.minimum(sampled, usual)
    is_still = _middle(from_usual) <= _STILL_CHANGE
    if is_still.any():
        odd |= (from_usual[:, is_still] > _OTHER_LEVEL).mean(axis=1) > _OTHER_SHARE
    if is_still.all():
        return odd
    flat_share = np.empty(count)
    ground = np.empty(count, np.uint8)
    for number, picture in enumerate(sampled):
        grey = picture[~is_still]
        ground[number] = int(np.bincount(grey, minlength=256).argmax())
        flat_share[number] = _near(grey, ground[number]).mean()
    is_flat = flat_share >= max(_FLAT_SHARE, float(np.median(flat_share)) + _MORE_FLAT)
    for number in np.flatnonzero(is_flat & ~odd).tolist():
        frame = frames[number]
        from_ground = np.maximum(frame, ground[number]) - np.minimum(frame, ground[number])
        odd[number] = has_rows_of_glyphs(from_ground)
    return odd


def _near(grey: NDArray[np.uint8], level: np.uint8) -> NDArray[np.bool_]:
    return np.abs(grey.astype(np.int16) - int(level)) <= _FLAT_LEVELS


def _middle(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The median over time, (H, W), of pictures (F, H, W)."""
    by_pixel = np.ascontiguousarray(np.moveaxis(pictures, 0, -1))
    half = len(pictures) // 2
    by_pixel.partition(half, axis=-1)
    return by_pixel[..., half]
