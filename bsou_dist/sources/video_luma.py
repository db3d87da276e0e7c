"""Grey video without the way over RGB, the slowest step between decoding and encoding."""

from __future__ import annotations

import av
import numpy as np
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange
from numpy.typing import NDArray
from PIL import Image

# 8 bits, a plane per component
_FORMATS = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p")
_NEUTRAL = 128
# Levels; less is no flow: in RGB, it makes less than the chroma that colour Doppler is told by.
_MAX_CHROMA = 12
# Of the picture: what colour Doppler is told by in the smallest fan that is used.
_MAX_COLOURED_SHARE = 0.0002
_SAMPLED = np.s_[::2, ::2]


def _full_range_level(level: int) -> int:
    """Luma 16 to 235, as video stores it (ITU-R BT.601), to 0 to 255."""
    return min(255, max(0, round((level - 16) * 255 / 219)))


_FULL_RANGE = [_full_range_level(level) for level in range(256)]


def luma_of_grey(frame: av.VideoFrame) -> NDArray[np.uint8] | None:
    """Luma of a frame that shows no colour but for a faint tint and small marks, else None.

    It is uint8 (H, W), 0 to 255.
    """
    if frame.format.name not in _FORMATS:
        return None
    luma, blue_chroma, red_chroma = (_plane_pixels(plane) for plane in frame.planes)
    is_coloured = np.logical_or(_leaves_neutral(blue_chroma), _leaves_neutral(red_chroma))
    if is_coloured.mean() > _MAX_COLOURED_SHARE:
        return None
    if frame.format.name.startswith("yuvj") or frame.color_range == ColorRange.JPEG:
        return luma.copy()
    return np.asarray(Image.fromarray(luma).point(_FULL_RANGE))


def _plane_pixels(plane: VideoPlane) -> NDArray[np.uint8]:
    """A plane's memory as (H, W), without the padding of its lines."""
    lines = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)
    return lines[:, : plane.width]


def _leaves_neutral(chroma: NDArray[np.uint8]) -> NDArray[np.bool_]:
    # Wraps around on purpose: levels below neutral become large, too.
    above_least = chroma[_SAMPLED] - np.uint8(_NEUTRAL - _MAX_CHROMA)
    return above_least > 2 * _MAX_CHROMA
