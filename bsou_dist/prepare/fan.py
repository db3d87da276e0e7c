"""The fan that the probe insonifies, told from everything else on the screen.

Tissue under a moving probe changes from frame to frame; names, dates, rulers and menus do not. So
the fan is the largest connected area that clearly keeps changing, grown over what faintly keeps
changing around it (the depth, where echoes are dim), and closed to its convex hull because shadows
and fluid at its rim may not change at all. The hollow above a curved probe, and whatever proves to
be print, are cut out of the hull again.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

from bsou_dist.prepare.changing_print import changing_print
from bsou_dist.prepare.glyphs import proven_print
from bsou_dist.prepare.hollow import hollow_mask
from bsou_dist.prepare.noise import change_beyond, noise_in_corners, smoothed

_CLEAR_CHANGE = 6  # grey levels; above the flicker that lossy codecs leave around still print
_FAINT_CHANGE = 2  # grey levels
# Of consecutive frame pairs; a label that pops up, or an I-frame, changes a pixel once.
_CHANGING_SHARE = 0.2
# Share of changing pixels in a window: bridges the gaps between speckles, drops lone pixels.
_DENSITY = 0.3
_WINDOW_SHARE = 1 / 40  # window, as a share of the picture's shorter side
_WHOLE_PICTURE = 0.97  # a fan that fills so much of the picture has nothing around it


# A fan that is smaller than the first is none; where all that ever moved is larger than the second,
# the scene is dark and not still.
_LEAST_SHARE = 0.02  # of the picture
_DARK_SCENE_SHARE = 0.1  # of the picture; a clock or a message is smaller
_LIT_LEVEL = 20  # grey levels; darker is no echo
_MOVED_SHARE = 0.2  # of what is lit
_DARK_CHANGE = 8  # grey levels over the whole clip; above the flicker of lossy codecs


@dataclass(frozen=True)
class Fan:
    """Where a clip shows tissue.

    Attributes:
        mask: the fan without its hollow and without print, (H, W); empty where nothing keeps
            changing.
        noise_around: whether noise fills the picture, and was told from the fan.
        fills_picture: whether nothing of the picture lies around the fan.
        is_dark_scene: whether too little changes from frame to frame, and the fan is the hull of
            what changed over the whole clip.
    """

    mask: NDArray[np.bool_]
    noise_around: bool = False
    fills_picture: bool = False
    is_dark_scene: bool = False


def find_fan(frames: NDArray[np.uint8]) -> Fan:
    """Find the fan in grey frames (F, H, W) with F >= 2."""
    shorter_side_px = min(frames.shape[1:])
    window_px = max(3, round(shorter_side_px * _WINDOW_SHARE))
    brightest, darkest = frames.max(axis=0), frames.min(axis=0)
    noise = noise_in_corners(frames)
    if noise is None:
        clear, faint = _changing(frames, (_CLEAR_CHANGE, _FAINT_CHANGE))
    else:
        level = max(_CLEAR_CHANGE, change_beyond(noise))
        clear, faint = _changing(smoothed(frames), (level, level))
    around_print = changing_print(frames, clear, window_px)
    clear &= ~around_print
    faint &= ~around_print
    core = _largest_component(_dense(clear, window_px))
    grown = _components_touching(core, _dense(faint, window_px) | core)
    hull, corners = _convex_hull(grown & faint)
    is_dark_scene = False
    if noise is None and hull.mean() < _LEAST_SHARE:
        ever_moved = _ever_moved(darkest, brightest)
        moved_hull, moved_corners = _convex_hull(ever_moved & _dense(ever_moved, window_px))
        if moved_hull.mean() >= _DARK_SCENE_SHARE:
            is_dark_scene = True
            hull, corners, core, clear = moved_hull, moved_corners, ever_moved, ever_moved
    if not hull.any():
        return Fan(hull, noise_around=noise is not None)
    mask = hull & ~hollow_mask(darkest, brightest, hull, corners, core & clear)
    mask &= ~proven_print(darkest, brightest, mask, clear)
    return Fan(
        mask,
        noise_around=noise is not None,
        fills_picture=bool(hull.mean() >= _WHOLE_PICTURE),
        is_dark_scene=is_dark_scene,
    )


def _ever_moved(darkest: NDArray[np.uint8], brightest: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The pixels that changed over the whole clip, or none where most of what is lit stood still.

    In a slow sweep over a dark scene little changes from one frame to the next, and all from the
    first to the last.
    """
    span = brightest - darkest
    moved = span >= _DARK_CHANGE
    lit = brightest >= _LIT_LEVEL
    if np.count_nonzero(lit & moved) < max(1, _MOVED_SHARE * np.count_nonzero(lit)):
        return np.zeros_like(lit)
    return moved


def _changing(frames: NDArray[np.uint8], levels: tuple[int, ...]) -> list[NDArray[np.bool_]]:
    """For each number of grey levels, the pixels that change by it in enough pairs of frames."""
    kind = np.uint8 if len(frames) <= 256 else np.uint16  # small sums are fast ones
    counts = [np.zeros(frames.shape[1:], kind) for _ in levels]
    for before, after in pairwise(frames):
        change = np.maximum(before, after) - np.minimum(before, after)
        for count, level in zip(counts, levels, strict=True):
            count += (change >= level).view(np.uint8)
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


def _components_touching(seeds: NDArray[np.bool_], mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The connected parts of a mask that hold a seed; seeds lie in the mask."""
    labels, count = ndimage.label(mask)
    holds_seed = np.zeros(count + 1, np.bool_)
    holds_seed[labels[seeds]] = True
    return holds_seed[labels]


def _convex_hull(mask: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Convex hull (H, W) of a mask, and its corners (x, y) in order, (N, 2)."""
    rows = np.nonzero(mask.any(axis=1))[0]
    # The ends of each row have the hull of all its points, and are few.
    first_columns = mask[rows].argmax(axis=1)
    last_columns = mask.shape[1] - 1 - mask[rows, ::-1].argmax(axis=1)
    xs = np.concatenate([first_columns, last_columns])
    ys = np.concatenate([rows, rows])
    try:
        hull = ConvexHull(np.stack([xs, ys], axis=1))
    except (QhullError, ValueError):  # no points, or all in one line
        return np.zeros_like(mask), np.zeros((0, 2))
    height, width = mask.shape
    picture = Image.new("1", (width, height))
    corners = hull.points[hull.vertices]
    outline = [tuple(corner) for corner in corners]
    ImageDraw.Draw(picture).polygon(outline, fill=1, outline=1)
    return np.array(picture), corners
