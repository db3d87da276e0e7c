"""The fan that the probe insonifies, told from everything else on the screen.

Tissue under a moving probe changes from frame to frame; names, dates, rulers and menus do not. So
the fan is the largest connected area that clearly keeps changing, grown over what faintly keeps
changing around it (the depth, where echoes are dim), and closed to its convex hull because shadows
and fluid at its rim may not change at all.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

from bsou_dist.prepare.bright_print import EIGHT_NEIGHBOURS, PRINT_LEVELS, apart_from_tissue

_CLEAR_CHANGE = 6  # grey levels; above the flicker that lossy codecs leave around still print
_FAINT_CHANGE = 2  # grey levels
# Of consecutive frame pairs; a label that pops up, or an I-frame, changes a pixel once.
_CHANGING_SHARE = 0.2
# Share of changing pixels in a window: bridges the gaps between speckles, drops lone pixels.
_DENSITY = 0.3
_WINDOW_SHARE = 1 / 40  # window, as a share of the picture's shorter side
_STILL_CHANGE = 16  # grey levels; what changes less over the whole clip is still
_PRINT_MARGIN_PX = 2  # anti-aliased and compressed edges of print


def fan_mask(frames: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Mask of the fan, (H, W), from grey frames (F, H, W) with F >= 2.

    It is empty where nothing keeps changing.

    Print that the hull takes in (a maker's mark in the hollow above a curved probe, a label tucked
    against the fan's flank, a clock) is cut out again, so long as dark pixels separate it from the
    moving tissue.
    """
    shorter_side_px = min(frames.shape[1:])
    window_px = max(3, round(shorter_side_px * _WINDOW_SHARE))
    clear, faint = _changing(frames, (_CLEAR_CHANGE, _FAINT_CHANGE))
    core = _largest_component(_dense(clear, window_px))
    if not core.any():
        return core
    grown = _components_touching(core, _dense(faint, window_px) | core)
    hull = _convex_hull(grown & faint)
    return hull & ~_print(frames, hull, core, faint)


def _changing(frames: NDArray[np.uint8], levels: tuple[int, ...]) -> list[NDArray[np.bool_]]:
    """For each number of grey levels, the pixels that change by it in enough pairs of frames."""
    counts = [np.zeros(frames.shape[1:], np.uint16) for _ in levels]
    for before, after in pairwise(frames):
        change = np.maximum(before, after) - np.minimum(before, after)
        for count, level in zip(counts, levels, strict=True):
            count += change >= level
    least_pairs = max(1.0, _CHANGING_SHARE * (len(frames) - 1))
    return [count >= least_pairs for count in counts]


def _dense(changing: NDArray[np.bool_], window_px: int) -> NDArray[np.bool_]:
    """Areas full of changing pixels and wider than the window.

    So traces, progress bars and bridges to other things are none.
    """
    dense = ndimage.uniform_filter(changing.astype(np.float32), window_px) >= _DENSITY
    cores = ndimage.minimum_filter(dense, window_px)
    return ndimage.maximum_filter(cores, window_px) & dense


def _largest_component(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    labels, count = ndimage.label(mask)
    if count == 0:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0  # what lies outside the mask
    return labels == sizes.argmax()


def _components_touching(
    seeds: NDArray[np.bool_], mask: NDArray[np.bool_], structure: NDArray[np.bool_] | None = None
) -> NDArray[np.bool_]:
    """The connected parts of a mask that hold a seed; seeds lie in the mask."""
    labels, count = ndimage.label(mask, structure)
    holds_seed = np.zeros(count + 1, np.bool_)
    holds_seed[labels[seeds]] = True
    return holds_seed[labels]


def _convex_hull(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    rows = np.nonzero(mask.any(axis=1))[0]
    # The ends of each row have the hull of all its points, and are few.
    first_columns = mask[rows].argmax(axis=1)
    last_columns = mask.shape[1] - 1 - mask[rows, ::-1].argmax(axis=1)
    xs = np.concatenate([first_columns, last_columns])
    ys = np.concatenate([rows, rows])
    try:
        hull = ConvexHull(np.stack([xs, ys], axis=1))
    except (QhullError, ValueError):  # no points, or all in one line
        return np.zeros_like(mask)
    height, width = mask.shape
    picture = Image.new("1", (width, height))
    corners = [tuple(point) for point in hull.points[hull.vertices]]
    ImageDraw.Draw(picture).polygon(corners, fill=1, outline=1)
    return np.array(picture)


def _print(
    frames: NDArray[np.uint8],
    hull: NDArray[np.bool_],
    core: NDArray[np.bool_],
    faint: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Mask of the print inside the hull: bright things that lie apart, or never move."""
    brightest = np.where(hull, frames.max(axis=0), np.uint8(0))
    still = brightest - frames.min(axis=0) < _STILL_CHANGE
    found = apart_from_tissue(brightest, faint & hull)
    for level in PRINT_LEVELS:
        bright = brightest >= level
        if (bright & still).any():  # seldom, and telling parts takes time
            joined_to_tissue = _components_touching(core & bright, bright, EIGHT_NEIGHBOURS)
            found |= bright & still & ~joined_to_tissue
    return ndimage.maximum_filter(found, 2 * _PRINT_MARGIN_PX + 1)
