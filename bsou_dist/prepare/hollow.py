"""The hollow above a curved probe: what the fan's hull takes in and no beam reaches.

A curved probe's face bends into the hull, whose upper edge is the straight line between the face's
ends. Between the two lies a segment of a disc, where scanners like to put a maker's mark. Nothing
there is anatomy, so all of it goes, whatever it shows.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_SHALLOWEST_PX = 2  # a hollow that holds print is deeper
_STEEPEST = 1.0  # rise over run of the line between the ends of the face
_SHORTEST_SHARE = 0.1  # of the hull's width; a chord that is shorter is no face
# Of an arc. Contact may be lost along most of a face for a whole clip, and print that changes there
# is told apart before. What never moves needs more: print covers a good part of an arc.
_MOVING_SHARE = 0.2
_LIT_SHARE = 0.5
_BENDS = (0.75, 0.9, 1.1, 1.35, 1.65)
"""How far parabolas rise from the middle to the chord's ends: the hull may cut or extend them."""

_JUDGED_SHARE = 0.85  # of the chord: at its ends tissue begins at once
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

    Of arcs below the hull's upper edge, circles and parabolas, it takes the one that encloses most
    and leaves the moving tissue, and what is lit along most of an arc, below it.

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
    # Below the first row of tissue in its middle third there is no hollow, and under most probes
    # there is nothing more to do.
    third = (last - first) // 3
    is_tissue = moving[top:bottom, first + third : last - third].mean(axis=1) >= _MOVING_SHARE
    depth_rows = int(is_tissue.argmax()) if is_tissue.any() else bottom - top
    if depth_rows < _SHALLOWEST_PX:
        return hollow
    bottom = min(bottom, top + depth_rows + third)
    box = np.s_[top:bottom, first:last]
    y, x = np.mgrid[top:bottom, first:last].astype(np.float32)
    middle = (left + right) / 2
    along = (right - left) / (2 * half_px)
    across_px = (x - middle[0]) * along[0] + (y - middle[1]) * along[1]
    down_px = (y - middle[1]) * along[0] - (x - middle[0]) * along[1]
    inside = hull[box] & (down_px >= 0) & (np.abs(across_px) < half_px)
    judged = inside & (np.abs(across_px) < _JUDGED_SHARE * half_px)
    screen = np.s_[max(0, top - _BACKGROUND_PX) : top + 1, first:last]
    screen_greys = _between(darkest[screen], brightest[screen]).astype(np.intp).ravel()
    background = np.bincount(screen_greys).argmax()  # print there has many greys, its ground one
    is_lit = np.abs(_between(darkest[box], brightest[box]) - background) >= _LIT_LEVEL
    # What flickers in the dark above the face is what lossy codecs leave around its edge.
    deepest = np.zeros_like(inside)
    for depth_px in _arcs(across_px / half_px, down_px / half_px, half_px):
        enclosed = inside & _above_the_face(depth_px, judged, moving[box] & is_lit, is_lit)
        if np.count_nonzero(enclosed) > np.count_nonzero(deepest):
            deepest = enclosed
    hollow[box] = deepest
    return hollow


def _arcs(
    across: NDArray[np.float32], down: NDArray[np.float32], half_px: float
) -> Iterator[NDArray[np.float32]]:
    """For each family of arcs, the depth below the chord's middle of the one through each pixel.

    Args:
        across: place along the chord, -1 and 1 at its ends.
        down: distance below it, in the same unit.
        half_px: half the chord's length.
    """
    centre_above = (1 - across**2 - down**2) / (2 * np.maximum(down, 0.01))
    yield half_px * (np.hypot(1, centre_above) - centre_above)  # circles through both ends
    for bend in _BENDS:
        yield half_px * down / np.maximum(1 - bend * across**2, 1e-3)


def _above_the_face(
    depth_px: NDArray[np.float32],
    judged: NDArray[np.bool_],
    moving: NDArray[np.bool_],
    is_lit: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """The pixels on arcs above the first that tissue lies on; none where it lies on no arc."""
    judged = judged & (depth_px < len(judged))
    arc = depth_px[judged].astype(np.intp)
    px_of_arc = np.maximum(np.bincount(arc, minlength=1), 1)
    moving_share = np.bincount(arc, moving[judged], minlength=1) / px_of_arc
    lit_share = np.bincount(arc, is_lit[judged], minlength=1) / px_of_arc
    is_tissue = (moving_share >= _MOVING_SHARE) | (lit_share >= _LIT_SHARE)
    face_px = int(is_tissue.argmax())  # 0 where there is none
    return depth_px < face_px


def _between(darkest: NDArray[np.uint8], brightest: NDArray[np.uint8]) -> NDArray[np.float32]:
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
