"""The one primitive of the phantom: an ellipsoid, painted over those before it."""

from __future__ import annotations

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
        """Matrix (3, 3) from an offset to the centre to the unit ball."""
        return self.axes.T / self.radii[:, None]

    @property
    def extent(self) -> Array:
        """Half of the size (3,) of a box around it, along the coordinate axes."""
        whole = np.linalg.norm(self.axes * self.radii, axis=1)
        return whole if self.within is None else np.minimum(whole, self.within.extent)

    def moved(self, rotation: Array, shift: Array) -> Ellipsoid:
        """The same ellipsoid after p -> rotation p + shift."""
        return replace(self, centre=rotation @ self.centre + shift, axes=rotation @ self.axes)

    def grown(self, margin_mm: float) -> Ellipsoid:
        """The same ellipsoid with longer half-axes: about what lies within ``margin_mm`` of it."""
        return replace(self, radii=self.radii + margin_mm)

    def surface(self) -> Array:
        """Fourteen points (14, 3) of its surface: the tips of its axes and of its diagonals."""
        return self.centre + _SURFACE @ (self.axes * self.radii).T


_CORNERS = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / np.sqrt(3.0)
_SURFACE = np.concatenate([np.eye(3), -np.eye(3), _CORNERS])


@dataclass(frozen=True)
class Scene:
    """Ellipsoids in painting order, as arrays.

    ``to_unit`` (N, 3, 3) maps an offset from ``centre`` (N, 3) to the unit ball; ``tissue`` (N,)
    uint8, where ``AIR`` is not painted but only bounds others; ``within`` (N,) int64: index of the
    ellipsoid that bounds it, or its own; ``fetus`` (N,) int64: 0 for the mother and the placenta, k
    for the k-th fetus and the fluid around it.
    """

    centre: Array
    to_unit: Array
    tissue: NDArray[np.uint8]
    within: NDArray[np.int64]
    fetus: NDArray[np.int64]

    @classmethod
    def of(cls, groups: Iterable[tuple[int, Iterable[Ellipsoid]]]) -> Scene:
        """Scene of groups in painting order, each with the number of the fetus that it moves with
        (0: none).
        """
        painted = [(k, e) for k, group in groups for e in group]
        bounds = list({id(e.within): e.within for _, e in painted if e.within is not None}.values())
        place = {id(e): n for n, e in enumerate(bounds)}
        everything = [(0, replace(e, tissue=Tissue.AIR)) for e in bounds] + painted
        return cls(
            centre=np.array([e.centre for _, e in everything]),
            to_unit=np.array([e.to_unit for _, e in everything]),
            tissue=np.array([e.tissue for _, e in everything], np.uint8),
            within=np.array(
                [
                    n if e.within is None else place[id(e.within)]
                    for n, (_, e) in enumerate(everything)
                ]
            ),
            fetus=np.array([k for k, _ in everything], np.int64),
        )

    def tissue_at(self, points: Array) -> NDArray[np.uint8]:
        """Tissue (P,) at points (P, 3) in mm, by testing every ellipsoid in turn: the plain
        reference.
        """
        found = np.zeros(len(points), np.uint8)
        height, reach = (
            points[:, 2].copy(),
            np.linalg.norm(np.linalg.inv(self.to_unit)[:, 2], axis=1),
        )
        for n in np.flatnonzero(self.tissue != Tissue.AIR).tolist():
            level = np.flatnonzero(
                np.abs(height - self.centre[n, 2]) < reach[n]
            )  # no others can lie in it
            inside = self._holds(n, points[level]) & self._holds(self.within[n], points[level])
            found[level[inside & (found[level] >= self.paints_over(n))]] = self.tissue[n]
        return found

    def _holds(self, n: int, points: Array) -> NDArray[np.bool_]:
        return (((points - self.centre[n]) @ self.to_unit[n].T) ** 2).sum(1) < 1.0

    def paints_over(self, n: int) -> int:
        """Lowest tissue that ellipsoid ``n`` may replace: what lies in the uterus never leaves
        it.
        """
        return int(Tissue.MYOMETRIUM) if self.tissue[n] > Tissue.MYOMETRIUM else 0


def ball(
    tissue: Tissue, centre: Iterable[float], radii: Iterable[float], axes: Array | None = None
) -> Ellipsoid:
    """An ellipsoid whose half-axes lie along ``axes`` (the coordinate axes by default)."""
    centre, radii = np.array(list(centre), float), np.array(list(radii), float)
    return Ellipsoid(tissue, centre, np.eye(3) if axes is None else axes, radii)


def segment(
    tissue: Tissue, start: Array, end: Array, radius: float, *, overshoot: float = 1.0
) -> Ellipsoid:
    """A long ellipsoid from ``start`` to ``end`` (3,) mm, ``overshoot`` times as long, of the given
    thickness.
    """
    along = end - start
    length = float(np.linalg.norm(along))
    first = along / length
    helper = np.eye(3)[int(np.argmin(np.abs(first)))]
    second = np.cross(first, helper)
    second /= np.linalg.norm(second)
    axes = np.stack([first, second, np.cross(first, second)], axis=1)
    return Ellipsoid(
        tissue, (start + end) / 2.0, axes, np.array([overshoot * length / 2.0, radius, radius])
    )
