"""The deepest vertical pocket of fluid, read off ellipsoids in closed form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bsou_dist.phantom.ellipsoids import Array, Ellipsoid

_FAR = 1e6  # mm; finite, so that the length of an empty interval is never inf - inf


def deepest_pocket_mm(
    cavity: Ellipsoid,
    fluid: Sequence[Ellipsoid],
    solid: Sequence[Ellipsoid],
    *,
    step_mm: float = 5.0,
    width_mm: float = 10.0,
) -> float:
    """Longest front-to-back (y) run through ``fluid`` that meets nothing ``solid`` (mm), on lines
    over ``cavity``.

    Every ellipsoid cuts an interval out of a front-to-back line, in closed form; on a grid of lines
    ``step_mm`` apart the longest gap between intervals is exact in depth. A pocket must be free on
    all lines over ``width_mm`` from side to side.
    """
    half, centre = cavity.extent, cavity.centre
    x = np.arange(-half[0], half[0] + step_mm, step_mm) + centre[0]
    z = np.arange(-half[2], half[2] + step_mm, step_mm) + centre[2]

    def intervals(parts: Sequence[Ellipsoid]) -> tuple[Array, Array]:
        starts, ends = zip(*(crossings(part, x, z) for part in parts), strict=True)
        return np.stack(starts), np.stack(ends)

    dry, filled = _gaps(*intervals(fluid)), intervals(solid)
    reach = max(1, round(width_mm / step_mm))
    start, end = _gaps(
        *(_side_by_side(np.concatenate(pair), reach) for pair in zip(dry, filled, strict=True))
    )
    return float((end - start).max(initial=0.0))


def crossings(part: Ellipsoid, x: Array, z: Array) -> tuple[Array, Array]:
    """Entry and exit depth (X, Z) of the front-to-back lines at ``x`` (X,) and ``z`` (Z,); a miss
    is empty.
    """
    along = part.to_unit[:, 1]
    right, up = (x - part.centre[0])[:, None, None], (z - part.centre[2])[:, None]
    offset = right * part.to_unit[:, 0] + up * part.to_unit[:, 2]
    a, b, c = along @ along, offset @ along, (offset**2).sum(-1) - 1.0
    hit = b * b - a * c
    root = np.sqrt(np.maximum(hit, 0.0))
    entry = np.where(hit > 0, part.centre[1] + (-b - root) / a, _FAR)
    leave = np.where(hit > 0, part.centre[1] + (-b + root) / a, -_FAR)
    if part.within is not None:
        bound = crossings(part.within, x, z)
        entry, leave = np.maximum(entry, bound[0]), np.minimum(leave, bound[1])
    return entry, leave


def _gaps(starts: Array, ends: Array) -> tuple[Array, Array]:
    """What N intervals (N, X, Z) leave free of the line: N + 1 intervals, some of them empty (_FAR,
    -_FAR).
    """
    empty = ends <= starts
    starts, ends = np.where(empty, _FAR, starts), np.where(empty, -_FAR, ends)
    order = np.argsort(starts, axis=0)
    starts, ends = np.take_along_axis(starts, order, 0), np.take_along_axis(ends, order, 0)
    rim = np.full_like(starts[:1], _FAR)
    first, last = (
        np.concatenate([-rim, np.maximum.accumulate(ends, axis=0)]),
        np.concatenate([starts, rim]),
    )
    empty = last <= first
    return np.where(empty, _FAR, first), np.where(empty, -_FAR, last)


def _side_by_side(values: Array, reach: int) -> Array:
    """Values (N, X, Z) of ``reach`` + 1 neighbouring lines in x as ((reach + 1) N, X - reach,
    Z).
    """
    return np.concatenate([values[:, k : values.shape[1] - reach + k] for k in range(reach + 1)])
