"""The hollow above a curved probe: what the fan's hull takes in and no beam reaches.

A curved probe's face bends into the hull, whose upper edge is the straight line between the face's
ends. Between the two lies a segment of a disc, where scanners like to put a maker's mark. Nothing
there is anatomy, so all of it goes, whatever it shows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_STEEPEST = 1.0  # rise over run of the line between the ends of the face
_SHORTEST_SHARE = 0.1  # of the hull's width; a chord that is shorter is no face
# Of an arc. Contact may be lost along most of a face for a whole clip, and print that changes there
# is told apart before. What never moves needs more: print covers a good part of an arc.
_MOVING_SHARE = 0.2
_LIT_SHARE = 0.5
_LIT_LEVEL = 12  # grey levels from the background's
_BACKGROUND_PX = 6  # rows above the chord that tell the grey level of the screen


def hollow_mask(
    darkest: NDArray[np.uint8],
    brightest: NDArray[np.uint8],
    hull: NDArray[np.bool_],
    corners: NDArray[np.floating],
    moving: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Mask of the hollow, (H, W): empty under a straight probe.

    Of all circles through both ends of the hull's upper edge it takes the deepest that leaves the
    moving tissue, and what is lit along most of an arc, below it.

    Args:
        darkest: minimum of each pixel over time, (H, W).
        brightest: its maximum, (H, W).
        hull: the fan's convex hull, (H, W).
        corners: its corners (x, y) in order around it, (N, 2).
        moving: where tissue moves, (H, W).
    """
    hollow = np.zeros_like(hull)
    chord = _upper_edge(corners)
    if chord is None:
        return hollow
    left, right = chord
    half_px = 0.5 * float(np.hypot(*(right - left)))
    height, width = hull.shape
    top = max(0, int(min(left[1], right[1])))
    bottom = min(height, int(max(left[1], right[1]) + half_px) + 1)
    first, last = max(0, int(left[0])), min(width, int(right[0]) + 1)
    box = np.s_[top:bottom, first:last]
    y, x = np.mgrid[top:bottom, first:last].astype(np.float32)
    middle = (left + right) / 2
    along = (right - left) / (2 * half_px)
    across_px = (x - middle[0]) * along[0] + (y - middle[1]) * along[1]
    down_px = (y - middle[1]) * along[0] - (x - middle[0]) * along[1]
    # The circle through both ends and a pixel has its centre so far above the chord.
    above_px = (half_px**2 - across_px**2 - down_px**2) / (2 * np.maximum(down_px, 0.5))
    sagitta_px = np.sqrt(half_px**2 + above_px**2) - above_px
    inside = hull[box] & (down_px >= 0) & (np.abs(across_px) < half_px) & (above_px >= 0)
    if not inside.any():
        return hollow

    arc = sagitta_px[inside].astype(np.intp)
    screen = np.s_[max(0, top - _BACKGROUND_PX) : top + 1, first:last]
    background = float(np.median(_between(darkest[screen], brightest[screen])))
    grey = _between(darkest[box][inside], brightest[box][inside])
    is_lit = np.abs(grey - background) >= _LIT_LEVEL
    px_of_arc = np.maximum(np.bincount(arc), 1)
    moving_share = np.bincount(arc, moving[box][inside]) / px_of_arc
    lit_share = np.bincount(arc, is_lit) / px_of_arc
    is_tissue = (moving_share >= _MOVING_SHARE) | (lit_share >= _LIT_SHARE)
    if not is_tissue.any():  # no arc is the face: nothing is known of its shape
        return hollow
    inside[inside] = arc < is_tissue.argmax()
    hollow[box] = inside
    return hollow


def _between(
    darkest: NDArray[np.uint8], brightest: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Grey halfway between both, which is cheaper than the mean over time."""
    return 0.5 * (darkest.astype(np.float32) + brightest)


def _upper_edge(
    corners: NDArray[np.floating],
) -> tuple[NDArray[np.floating], NDArray[np.floating]] | None:
    """Left and right end of the hull's longest edge that looks up, if it is long enough."""
    middle_y = corners[:, 1].mean()
    longest = None
    longest_px = _SHORTEST_SHARE * np.ptp(corners[:, 0])
    for end, other in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        left, right = (end, other) if end[0] < other[0] else (other, end)
        run_px = right[0] - left[0]
        looks_up = (left[1] + right[1]) / 2 < middle_y
        is_flat = abs(right[1] - left[1]) <= _STEEPEST * run_px
        if looks_up and is_flat and run_px > longest_px:
            longest_px = run_px
            longest = (left, right)
    return longest
