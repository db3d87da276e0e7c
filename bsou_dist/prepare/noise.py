"""Noise that a frame grabber adds around the fan, so that all of the picture keeps changing."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bsou_dist.sources.raw_clip import even_indices

_FRAMES = 12  # so many tell the noise's deviation
_CORNER_SHARE = 1 / 20  # side of a corner, of the picture's shorter side
_LEAST_CORNERS = 3  # print stands in one, often
_LEAST_SIGMA = 1.5  # grey levels; less changes nothing clearly
_EVEN_LEVEL = 4.0  # grey levels by which the mean over time may differ within a corner
_GRAIN = 0.35  # correlation of neighbouring pixels; speckle has more, white noise none
_BOX_PX = 3  # averaging over so many by so many pixels leaves a third of white noise
_DEVIATIONS = 3.5  # of a change between two frames, that noise alone seldom makes


def noise_in_corners(frames: NDArray[np.uint8]) -> float | None:
    """Deviation of the noise in the picture's corners (grey levels), or None where there is none.

    Noise is the same all over a corner, and neighbouring pixels know nothing of each other.

    Args:
        frames: grey, (F, H, W).
    """
    side = max(8, round(min(frames.shape[1:]) * _CORNER_SHARE))
    chosen = even_indices(len(frames), _FRAMES)
    sigmas = []
    for rows, columns in product((np.s_[:side], np.s_[-side:]), repeat=2):
        corner = frames[chosen, rows, columns].astype(np.float32)
        mean = corner.mean(axis=0)
        noise = corner - mean
        sigma = float(noise.std())
        if sigma < _LEAST_SIGMA:
            continue
        uneven = float(mean.std()) - sigma / np.sqrt(len(chosen))
        across = (noise[..., 1:] * noise[..., :-1]).mean() / sigma**2
        down = (noise[:, 1:] * noise[:, :-1]).mean() / sigma**2
        if uneven <= _EVEN_LEVEL and max(across, down) <= _GRAIN:
            sigmas.append(sigma)
    return max(sigmas) if len(sigmas) >= _LEAST_CORNERS else None


def smoothed(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames (F, H, W) with each pixel averaged over its neighbours."""
    return ndimage.uniform_filter(frames, (1, _BOX_PX, _BOX_PX))


def change_beyond(sigma: float) -> int:
    """Grey levels by which smoothed frames differ where more than such noise changes."""
    return int(np.ceil(_DEVIATIONS * np.sqrt(2) * sigma / _BOX_PX))
