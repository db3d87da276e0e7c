"""Colour Doppler told from grey clips that a display map has tinted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_DOPPLER_CHROMA = 40.0  # levels; compressed grey stays below, Doppler maps are far above
# Of the brightness; the median pixel of an untinted clip stays below, Doppler or not.
_TINT_CHROMA = 0.05
_DARK_LEVEL = 16  # below, a tint cannot be seen
_SAMPLED_SIDE_PX = 64  # so many rows and columns are enough for a share


def coloured_share(frames: NDArray[np.uint8], fan: NDArray[np.bool_]) -> float:
    """The largest share, over the frames, of the fan's pixels that have a colour of their own.

    A tint is one hue over the whole picture, so its chroma points one way: only what deviates from
    that way counts.

    Args:
        frames: RGB, (F, H, W, 3).
        fan: (H, W), not empty.
    """
    step = max(1, min(fan.shape) // _SAMPLED_SIDE_PX)
    inside = fan[::step, ::step]
    # (3, F, P), where P pixels of the fan are sampled
    channels = np.stack([frames[:, ::step, ::step, channel][:, inside] for channel in range(3)])
    spread = channels.max(axis=0) - channels.min(axis=0)
    # No chroma is greater than that; most clips are grey and end here.
    most_chroma = spread.max() * np.sqrt(2)
    if most_chroma <= _DOPPLER_CHROMA:
        return 0.0
    red, green, blue = channels.astype(np.float32)
    chroma = np.stack([red - green, (red + green) / 2 - blue], axis=-1)  # (F, P, 2)
    brightness = (red + green + blue) / 3
    seen = brightness >= _DARK_LEVEL
    if not seen.any():
        return 0.0
    tint = np.median(chroma[seen] / brightness[seen][:, None], axis=0)
    tint_strength = float(np.hypot(*tint))
    if tint_strength > _TINT_CHROMA:
        direction = tint / tint_strength
        along_tint = np.clip(chroma @ direction, 0.0, None)
        chroma = chroma - along_tint[..., None] * direction
    is_coloured = np.hypot(chroma[..., 0], chroma[..., 1]) > _DOPPLER_CHROMA
    share_of_frame = is_coloured.mean(axis=1)
    return float(share_of_frame.max())
