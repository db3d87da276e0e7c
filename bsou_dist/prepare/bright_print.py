"""Bright things that lie in the dark, apart from the tissue, whatever they do over time: print that
comes, goes or counts the seconds changes as tissue does, but it is small, and nothing leads over to
it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

PRINT_LEVELS = (
    20,
    40,
)  # grey levels; at least so bright: thin print that shrinking dims, print in a bright haze
_STARK = 2  # times as bright as all around; peaks of dim speckle, over a whole clip, are less
_TISSUE_SHARE = (
    0.01  # of all tissue: a part that holds so much is tissue itself, such as a limb in fluid
)


def apart_from_tissue(brightest: NDArray[np.uint8], tissue: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mask, (H, W), of the bright things apart, from each pixel's maximum over time and where
    tissue is or may be.
    """
    apart = np.zeros_like(tissue)
    least_px = _TISSUE_SHARE * np.count_nonzero(tissue)
    for level in PRINT_LEVELS:
        bright = brightest >= level
        parts, count = ndimage.label(bright, np.ones((3, 3), np.bool_))
        stark = np.zeros(count + 1, np.bool_)
        stark[parts[brightest >= _STARK * level]] = True
        small = np.bincount(parts[tissue & bright], minlength=count + 1) < least_px
        if (stark & small).any():
            apart |= (stark & small)[parts]
    return apart
