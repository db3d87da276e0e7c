"""The one primitive of the phantom: an ellipsoid, painted over those before it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bsou_dist.phantom.tissues import Tissue

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Ellipsoid:
    """A solid ellipsoid of one tissue.

    ``centre`` (3,) mm; ``axes`` (3, 3), its columns the unit directions of the three half-axes;
    ``radii`` (3,) mm. Of an ellipsoid with ``within`` only what lies inside that other one counts.
    """

    tissue: Tissue
    centre: Array
    axes: Array
    radii: Array
    within: Ellipsoid | None = None

    @property
    def to_unit(self) -> Array:
        """Matrix (3, 3) that maps an offset from the centre to the unit ball."""
        return self.axes.T / self.radii[:, None]

    @property
    def extent(self) -> Array:
        """Half of the size (3,) of a box around it, along the coordinate axes."""
        whole = np.linalg.norm(self.axes * self.radii, axis=1)
        return whole if self.within is None else np.minimum(whole, self.within.extent)

    def moved(self, rotation: Array, shift: Array) -> Ellipsoid:
        """The same ellipsoid after the motion p -> rotation p + shift."""
        return replace(self, centre=rotation @ self.centre + shift, axes=rotation @ self.axes)

    def grown(self, margin_mm: float) -> Ellipsoid:
        """The same ellipsoid with longer half-axes: about what lies within ``margin_mm`` of it."""
        return replace(self, radii=self.radii + margin_mm)

    def surface(self) -> Array:
        """Fourteen points (14, 3) of its surface: the tips of its axes and of its diagonals."""
        return self.centre + _SURFACE @ (self.axes * self.radii).T


_CORNERS = np.array(list(itertools.product((-1, 1), repeat=3))) / np.sqrt(3.0)
_SURFACE = np.concatenate([np.eye(3), -np.eye(3), _CORNERS])


@dataclass(frozen=True)
class Scene:
    """Ellipsoids in painting order, as arrays.

    ``to_unit`` (N, 3, 3) maps an offset from ``centre`` (N, 3) to the unit ball. ``tissue`` (N,)
    is uint8; ``AIR`` is not painted and only bounds others. ``within`` (N,) int64 is the index of
    the ellipsoid that bounds each, or its own. ``fetus`` (N,) int64 is 0 for the mother and the
    placenta, k for the k-th fetus and the fluid around it.
    """

    centre: Array
    to_unit: Array
    tissue: NDArray[np.uint8]
    within: NDArray[np.int64]
    fetus: NDArray[np.int64]

    @classmethod
    def from_groups(cls, groups: Iterable[tuple[int, Iterable[Ellipsoid]]]) -> Scene:
        """Scene of groups in painting order, each with the number of the fetus that it moves with.

        The number is 0 where it moves with none.
        """
        painted = [(fetus, part) for fetus, parts in groups for part in parts]
        bounds: dict[int, Ellipsoid] = {}  # by identity: many parts share one
        for _, part in painted:
            if part.within is not None:
                bounds[id(part.within)] = part.within
        index_of_bound = {identity: index for index, identity in enumerate(bounds)}
        unpainted = [(0, replace(bound, tissue=Tissue.AIR)) for bound in bounds.values()]
        everything = unpainted + painted
        parts = [part for _, part in everything]
        within = [
            index if part.within is None else index_of_bound[id(part.within)]
            for index, part in enumerate(parts)
        ]
        return cls(
            centre=np.array([part.centre for part in parts]),
            to_unit=np.array([part.to_unit for part in parts]),
            tissue=np.array([part.tissue for part in parts], np.uint8),
            within=np.array(within),
            fetus=np.array([fetus for fetus, _ in everything], np.int64),
        )

    def tissue_at(self, points: Array) -> NDArray[np.uint8]:
        """Tissue (P,) at points (P, 3) in mm.

        Every ellipsoid is tested in turn: the plain reference for `imaging.tissue_along_beams`.
        """
        found = np.zeros(len(points), np.uint8)
        height = points[:, 2].copy()
        reach = np.linalg.norm(np.linalg.inv(self.to_unit)[:, 2], axis=1)
        for n in np.flatnonzero(self.tissue != Tissue.AIR).tolist():
            # points above or below its extent can't lie in it
            near = np.flatnonzero(np.abs(height - self.centre[n, 2]) < reach[n])
            inside = self._holds(n, points[near]) & self._holds(self.within[n], points[near])
            replaceable = found[near] >= self.paints_over(n)
            found[near[inside & replaceable]] = self.tissue[n]
        return found

    def _holds(self, n: int, points: Array) -> NDArray[np.bool_]:
        in_unit_ball = (points - self.centre[n]) @ self.to_unit[n].T
        return (in_unit_ball**2).sum(1) < 1.0

    def paints_over(self, n: int) -> int:
        """Lowest tissue that ellipsoid ``n`` may replace: what is in the uterus never leaves it."""
        return int(Tissue.MYOMETRIUM) if self.tissue[n] > Tissue.MYOMETRIUM else 0


def ball(
    tissue: Tissue, centre: Iterable[float], radii: Iterable[float], axes: Array | None = None
) -> Ellipsoid:
    """An ellipsoid whose half-axes lie along ``axes`` (the coordinate axes by default)."""
    return Ellipsoid(
        tissue,
        centre=np.array(list(centre), float),
        axes=np.eye(3) if axes is None else axes,
        radii=np.array(list(radii), float),
    )


def segment(
    tissue: Tissue, start: Array, end: Array, radius: float, *, overshoot: float = 1.0
) -> Ellipsoid:
    """A long ellipsoid from ``start`` to ``end`` (3,) mm, ``overshoot`` times as long.

    Args:
        radius: half of its thickness (mm).
    """
    along = end - start
    length = float(np.linalg.norm(along))
    first = along / length
    helper = np.eye(3)[int(np.argmin(np.abs(first)))]  # the coordinate axis most across it
    second = np.cross(first, helper)
    second /= np.linalg.norm(second)
    third = np.cross(first, second)
    middle = (start + end) / 2.0
    radii = np.array([overshoot * length / 2.0, radius, radius])
    return Ellipsoid(tissue, middle, np.stack([first, second, third], axis=1), radii)
