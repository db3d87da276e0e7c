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
    """Depth (mm) of the deepest pocket: the longest front-to-back run through nothing but fluid.

    Every ellipsoid cuts an interval out of a front-to-back (y) line, in closed form; on a grid of
    lines ``step_mm`` apart over ``cavity`` the longest gap between intervals is exact in depth. A
    pocket must be free of ``solid`` on all lines over ``width_mm`` from side to side.
    """
    half, centre = cavity.extent, cavity.centre
    x = np.arange(-half[0], half[0] + step_mm, step_mm) + centre[0]
    z = np.arange(-half[2], half[2] + step_mm, step_mm) + centre[2]

    dry_starts, dry_ends = _gaps(*_intervals(fluid, x, z))
    solid_starts, solid_ends = _intervals(solid, x, z)
    reach = max(1, round(width_mm / step_mm))
    starts = _side_by_side(np.concatenate([dry_starts, solid_starts]), reach)
    ends = _side_by_side(np.concatenate([dry_ends, solid_ends]), reach)
    free_starts, free_ends = _gaps(starts, ends)
    return float((free_ends - free_starts).max(initial=0.0))


def _intervals(parts: Sequence[Ellipsoid], x: Array, z: Array) -> tuple[Array, Array]:
    """Starts and ends (N, X, Z) of what N parts cut out of the lines."""
    starts, ends = zip(*(crossings(part, x, z) for part in parts), strict=True)
    return np.stack(starts), np.stack(ends)


def crossings(part: Ellipsoid, x: Array, z: Array) -> tuple[Array, Array]:
    """Entry and exit depth (X, Z) of the front-to-back lines at ``x`` (X,) and ``z`` (Z,) mm.

    A line that misses enters at +1e6 mm and leaves at -1e6 mm: its interval is empty.
    """
    # In the unit ball's frame a point of a line is offset + t along: its square is a quadratic in t
    along = part.to_unit[:, 1]
    right = (x - part.centre[0])[:, None, None]
    up = (z - part.centre[2])[:, None]
    offset = right * part.to_unit[:, 0] + up * part.to_unit[:, 2]
    a = along @ along
    b = offset @ along
    c = (offset**2).sum(-1) - 1.0
    discriminant = b * b - a * c
    root = np.sqrt(np.maximum(discriminant, 0.0))
    hit = discriminant > 0
    entry = np.where(hit, part.centre[1] + (-b - root) / a, _FAR)
    leave = np.where(hit, part.centre[1] + (-b + root) / a, -_FAR)
    if part.within is not None:
        first, last = crossings(part.within, x, z)
        entry = np.maximum(entry, first)
        leave = np.minimum(leave, last)
    return entry, leave


def _gaps(starts: Array, ends: Array) -> tuple[Array, Array]:
    """Gaps that N intervals (N, X, Z) leave on the line: N + 1 intervals, some of them empty."""
    starts, ends = _marked_empty(starts, ends)
    order = np.argsort(starts, axis=0)
    starts = np.take_along_axis(starts, order, 0)
    ends = np.take_along_axis(ends, order, 0)
    rim = np.full_like(starts[:1], _FAR)
    gap_starts = np.concatenate([-rim, np.maximum.accumulate(ends, axis=0)])
    gap_ends = np.concatenate([starts, rim])
    return _marked_empty(gap_starts, gap_ends)


def _marked_empty(starts: Array, ends: Array) -> tuple[Array, Array]:
    """The intervals, with (_FAR, -_FAR) for empty ones, which sorts them to the end."""
    empty = ends <= starts
    return np.where(empty, _FAR, starts), np.where(empty, -_FAR, ends)


def _side_by_side(values: Array, reach: int) -> Array:
    """Values (N, X, Z) of ``reach`` + 1 neighbours in x, as ((reach + 1) N, X - reach, Z)."""
    lines = values.shape[1] - reach
    return np.concatenate([values[:, k : k + lines] for k in range(reach + 1)])
