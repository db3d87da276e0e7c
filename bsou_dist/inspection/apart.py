"""Bright things that lie in the dark, apart from the tissue, whatever they do over time.

Print that comes, goes or counts the seconds changes as tissue does, but it is small, and nothing
leads over to it. So is a cord's section in fluid: preparing leaves such things, and a human judges.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bsou_dist.prepare.glyphs import EIGHT_NEIGHBOURS

# Grey levels that thin print keeps when shrinking dims it, and that print in a bright haze has.
_PRINT_LEVELS = (20, 40)

_STARK = 2  # times as bright as all around; peaks of dim speckle, over a whole clip, are less
_TISSUE_SHARE = 0.01  # of all tissue; a part with so much is tissue itself, such as a limb in fluid


def apart_from_tissue(brightest: NDArray[np.uint8], tissue: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mask of the bright things that lie apart from the tissue.

    Args:
        brightest: maximum of each pixel over time, (H, W).
        tissue: where tissue is or may be, (H, W).
    """
    apart = np.zeros_like(tissue)
    least_tissue_px = _TISSUE_SHARE * np.count_nonzero(tissue)
    for level in _PRINT_LEVELS:
        bright = brightest >= level
        parts, count = ndimage.label(bright, EIGHT_NEIGHBOURS)
        is_stark = np.zeros(count + 1, np.bool_)
        is_stark[parts[brightest >= _STARK * level]] = True
        tissue_px = np.bincount(parts[tissue & bright], minlength=count + 1)
        is_apart = is_stark & (tissue_px < least_tissue_px)
        if is_apart.any():
            apart |= is_apart[parts]
    return apart
