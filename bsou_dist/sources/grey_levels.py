"""Pixels of any type to 8-bit grey levels or colours, by one rule for every clip of a corpus.

Stretched to its own darkest and brightest pixel, a dim clip would come out as bright as any other,
and the same clip differently from two kinds of file.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bsou_dist.sources.raw_clip import UnreadableClip

_BRIGHTEST = 255
_FULL_SCALES = (255, 4095, 65535)
"""Of 8, 12 and 16 bits. Each is 16 times the one before: only a clip that is black to the eye can
be taken for one of fewer bits.
"""
_OVERSHOOT = 0.01
"""Share of the full scale by which fractions may leave it, since resampling does that."""


def to_frames(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Numbers (F, H, W) or (F, H, W, C) to frames of grey or RGB.

    1 channel is grey, 3 are RGB; with 2 or 4 the last is opacity.
    """
    if values.ndim == 3 or values.shape[3] == 3:
        return to_levels(values)
    if values.shape[3] == 1:
        return to_levels(values[..., 0])
    colours = to_levels(values[..., :-1])
    opacity = values[..., -1:]
    full_scale = float(np.iinfo(opacity.dtype.str).max) if opacity.dtype.kind in "iu" else 1.0
    shown = on_black(np.concatenate([colours, scaled_levels(opacity, 0.0, full_scale)], axis=-1))
    return shown[..., 0] if shown.shape[3] == 1 else shown


def on_black(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pixels whose last channel is their opacity, over black: (..., C + 1) to (..., C)."""
    colours = values[..., :-1].astype(np.uint16)
    opacity = values[..., -1:]
    return ((colours * opacity + 127) // 255).astype(np.uint8)


def to_levels(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Numbers whose full scale no header states to levels of 0 to 255, of the same shape.

    The full scale is 1 for floating-point numbers up to that, else the smallest of 8, 12 and 16
    bits that holds them.

    Raises:
        UnreadableClip: they are no real numbers, not all finite, negative, or larger.
    """
    if values.dtype == np.uint8:
        return values.astype(np.uint8, copy=False)
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(_BRIGHTEST)
    if values.dtype.kind not in "iuf":
        raise UnreadableClip("its pixels are not real numbers")
    lowest, highest = float(values.min()), float(values.max())
    if not np.isfinite([lowest, highest]).all():
        raise UnreadableClip("its pixels hold NaN or infinity")
    are_fractions = values.dtype.kind == "f"
    overshoot = _OVERSHOOT if are_fractions else 0.0
    scales = (1, *_FULL_SCALES) if are_fractions else _FULL_SCALES
    fitting = [scale for scale in scales if highest <= scale * (1 + overshoot)]
    if not fitting:
        raise UnreadableClip("its pixels are brighter than 16 bits can say; write 8-bit levels")
    if lowest < -overshoot * fitting[0]:
        raise UnreadableClip("some of its pixels are negative, which is no brightness")
    return scaled_levels(values, 0.0, float(fitting[0]))


def scaled_levels(values: NDArray[np.generic], low: float, high: float) -> NDArray[np.uint8]:
    """Levels of 0 to 255 for numbers from `low` to `high`; what lies beyond either is cut off."""
    shares = (values.astype(np.float64) - low) / (high - low)
    return np.rint(np.clip(shares, 0.0, 1.0) * _BRIGHTEST).astype(np.uint8)
