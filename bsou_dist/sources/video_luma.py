"""Grey video without the way over RGB, which takes longer than anything else between decoding and
encoding.
"""

from __future__ import annotations

import av
import numpy as np
from av.video.reformatter import ColorRange
from numpy.typing import NDArray
from PIL import Image

_FORMATS = (
    "yuv420p",
    "yuvj420p",
    "yuv422p",
    "yuvj422p",
    "yuv444p",
    "yuvj444p",
)  # 8 bits, a plane per component
_NEUTRAL = 128
# levels; less is no flow: in RGB, it makes less than the chroma that colour Doppler is told by
_MAX_CHROMA = 12
_MAX_COLOURED_SHARE = (
    0.0002  # of the picture: what colour Doppler is told by in the smallest fan that is used
)
_SAMPLED = np.s_[::2, ::2]
_FULL_RANGE = [min(255, max(0, round((level - 16) * 255 / 219))) for level in range(256)]


def luma_of_grey(frame: av.VideoFrame) -> NDArray[np.uint8] | None:
    """Luma (H, W), 0 to 255, of a frame that shows no colour but for a faint tint and small marks;
    else None.
    """
    if frame.format.name not in _FORMATS:
        return None
    luma, *chroma = (
        np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)[:, : plane.width]
        for plane in frame.planes
    )
    # Wraps around on purpose: levels below neutral become large, too.
    spread = [
        plane[_SAMPLED] - np.uint8(_NEUTRAL - _MAX_CHROMA) > 2 * _MAX_CHROMA for plane in chroma
    ]
    if np.logical_or(*spread).mean() > _MAX_COLOURED_SHARE:
        return None
    if frame.format.name.startswith("yuvj") or frame.color_range == ColorRange.JPEG:
        return luma.copy()
    return np.asarray(Image.fromarray(luma).point(_FULL_RANGE))
