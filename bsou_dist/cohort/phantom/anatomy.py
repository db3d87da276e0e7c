"""The mother, her uterus and what lies in it, and the labels that follow from where things lie.

World frame (mm): x to the mother's left, y from front to back with 0 at the skin over the uterus, z towards her head
with 0 at the pubic bone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from bsou_dist.cohort.phantom.ellipsoids import Array, Ellipsoid, Scene, ball, segment
from bsou_dist.cohort.phantom.fetus import Fetus, Posture, build_fetus
from bsou_dist.cohort.phantom.growth import biometry, fluid_volume_ml, placenta_thickness_mm
from bsou_dist.cohort.phantom.tissues import Tissue

Presentation = Literal["cephalic", "non_cephalic"]
Placenta = Literal["anterior", "posterior"]

SKIN_MM = 2.5
BARREL, BROAD = 1.5, 1.3
"""Shape of the uterine cavity: how far its sides are stretched along it, and how broad the curve of its ends is."""
PLACENTA_ROOM = 0.35
"""Half of the depth that the placenta adds to the cavity, relative to its thickness: the fetus dents it."""
SNUG = 0.93
"""Size of the cavity around a fetus without fluid, relative to one that presses on no point of it."""
FREE_FLUID = 0.6
"""Share of the amniotic fluid that widens the cavity beyond the smallest ellipsoid around the fetus."""


@dataclass(frozen=True)
class Lie:
    """How one fetus lies: direction of its head from its trunk (3,), turn about that axis (rad), posture."""

    headwards: Array
    roll: float
    posture: Posture


@dataclass(frozen=True)
class AnatomyPlan:
    """What is drawn by chance about one mother at one visit; the anatomy is a pure function of it."""

    size_ga_days: float
    """Age whose mean size the fetus has (the true age with growth scatter)."""
    bmi: float
    fat_mm: float
    muscle_mm: float
    fluid_factor: float
    """Amniotic fluid relative to the mean of its age."""
    bladder_ml: float
    pole_mm: float
    """Height of the lower end of the uterine cavity over the pubic bone (mm)."""
    lean_mm: float
    """Sideways offset of the uterus (mm)."""
    placenta_side: Placenta
    placenta_offset: tuple[float, float]
    """Centre of the placenta on its wall, sideways and upwards, relative to front-to-back: the way its wall faces."""
    lies: tuple[Lie, ...]


@dataclass(frozen=True)
class Anatomy:
    """A body ready to be imaged, with the positions its labels are read from (world frame, mm)."""

    scene: Scene
    body: Ellipsoid
    cavity: Ellipsoid
    placenta: Ellipsoid
    fetuses: tuple[Fetus, ...]

    @property
    def fundus_mm(self) -> float:
        """Height of the top of the uterine cavity over the pubic bone."""
        return float(self.cavity.centre[2] + self.cavity.extent[2])

    def presentation(self) -> Presentation:
        """``cephalic`` where the head points to the pelvis: below the rump, within 45 degrees of the body axis."""
        fetus = self.fetuses[0]
        towards_head = fetus.head_centre - fetus.rump
        down = -towards_head[2] / np.linalg.norm(towards_head)
        return "cephalic" if down > math.cos(math.pi / 4) else "non_cephalic"

    def placenta_side(self) -> Placenta:
        """Wall of the uterus on which the placenta's centre lies."""
        return "anterior" if self.placenta.centre[1] < self.cavity.centre[1] else "posterior"

    def dvp_cm(self, *, step_mm: float = 5.0, width_mm: float = 10.0) -> float:
        """Deepest vertical pocket (cm): longest front-to-back run of fluid, ``width_mm`` wide from side to side.

        Every ellipsoid cuts an interval out of a front-to-back line, in closed form; on a grid of lines ``step_mm``
        apart the longest gap between intervals is exact in depth. A pocket must be free on all lines of its width.
        """
        reach = max(1, round(width_mm / step_mm))
        first, last = self._lines(self.cavity, step_mm)
        blocked = [self.placenta, *(p for f in self.fetuses for p in f.parts[: f.outline])]
        intervals = [self._lines(part, step_mm) for part in blocked]
        starts = np.stack([start for start, _ in intervals])
        ends = np.stack([end for _, end in intervals])

        def side_by_side(lines: Array) -> list[Array]:
            return [lines[..., k : lines.shape[-2] - reach + k, :] for k in range(reach + 1)]

        top, floor = np.max(side_by_side(first), axis=0), np.min(side_by_side(last), axis=0)
        starts, ends = np.concatenate(side_by_side(starts)), np.concatenate(side_by_side(ends))
        usable = floor > top
        top, floor, starts, ends = top[usable], floor[usable], starts[:, usable], ends[:, usable]
        order = np.argsort(starts, axis=0)
        starts, ends = np.take_along_axis(starts, order, 0), np.take_along_axis(ends, order, 0)
        reached = np.maximum(np.maximum.accumulate(ends, axis=0), top)
        gaps = np.minimum(np.concatenate([starts, floor[None]]), floor) - np.concatenate([top[None], reached])
        return max(0.0, float(gaps.max(initial=0.0))) / 10.0

    def _lines(self, part: Ellipsoid, step_mm: float) -> tuple[Array, Array]:
        """Entry and exit depth (X, Z) of the front-to-back lines over the cavity; an empty interval is (inf, -inf)."""
        half = self.cavity.extent
        x = np.arange(-half[0], half[0] + step_mm, step_mm) + self.cavity.centre[0]
        z = np.arange(-half[2], half[2] + step_mm, step_mm) + self.cavity.centre[2]
        along = part.to_unit[:, 1]
        offset = ((x - part.centre[0])[:, None, None] * part.to_unit[:, 0]
                  + (z - part.centre[2])[:, None] * part.to_unit[:, 2])
        a, b, c = along @ along, offset @ along, (offset**2).sum(-1) - 1.0
        hit = b * b - a * c
        root = np.sqrt(np.maximum(hit, 0.0))
        entry = np.where(hit > 0, part.centre[1] + (-b - root) / a, np.inf)
        leave = np.where(hit > 0, part.centre[1] + (-b + root) / a, -np.inf)
        if part.within is not None:
            bound = self._lines(part.within, step_mm)
            entry, leave = np.maximum(entry, bound[0]), np.minimum(leave, bound[1])
        return entry, leave


def build_anatomy(plan: AnatomyPlan) -> Anatomy:
    """The anatomy of a plan: fetal size follows Hadlock (1984); the uterus closes around the fetus and its fluid."""
    age, number = plan.size_ga_days, len(plan.lies)
    size = biometry(age)
    if number > 1:  # twins share the room: smaller towards term
        size = biometry(age * float(np.interp(age, (140.0, 280.0), (1.0, 0.93))))
    thickness = placenta_thickness_mm(age)
    towards_back = 1.0 if plan.placenta_side == "anterior" else -1.0
    loose = [_lay(build_fetus(size, lie.posture), lie) for lie in plan.lies]
    apart = 0.5 * sum(np.ptp(f.core_points()[:, 0]) for f in loose) / number
    loose = [f.moved(np.eye(3), np.array([apart * (2 * k - (number - 1)), 0.0, 0.0])) for k, f in enumerate(loose)]

    room = PLACENTA_ROOM * thickness
    middle, barrel, ends = _closed_around(np.concatenate([f.core_points() for f in loose]))
    tight_ml = 4e-3 / 3.0 * math.pi * abs(np.linalg.det(barrel)) / BARREL
    swell = SNUG * (1.0 + FREE_FLUID * plan.fluid_factor * fluid_volume_ml(age) / tight_ml) ** (1 / 3)
    stretch = swell * np.diag([1.0, 1.0 + room / (swell * float(np.linalg.norm(barrel[1]))), 1.0])
    ends_inside = _of_shape(Tissue.FLUID, stretch @ ends)
    cavity = replace(_of_shape(Tissue.FLUID, stretch @ barrel), within=ends_inside)

    wall = float(np.interp(age, (98.0, 280.0), (11.0, 7.0)))
    front = SKIN_MM + plan.fat_mm + plan.muscle_mm
    gap = float(np.interp(age, (98.0, 200.0), (7.0, 2.0)))
    half = cavity.extent
    centre = np.array([plan.lean_mm, front + gap + wall + half[1], plan.pole_mm + half[2]])
    ends_inside = replace(ends_inside, centre=centre)
    cavity = replace(cavity, centre=centre, within=ends_inside)
    uterus = Ellipsoid(Tissue.MYOMETRIUM, centre, cavity.axes, cavity.radii + wall,
                       within=replace(ends_inside, radii=ends_inside.radii + wall))
    shift = centre - middle + np.array([0.0, towards_back * room, 0.0])
    fetuses = tuple(f.moved(np.eye(3), shift) for f in loose)
    placenta = _placenta(plan, cavity, thickness, age)
    body, mother = _mother(plan, cavity, wall, front)
    scene = Scene.of([[*mother, uterus, cavity, placenta], *(f.parts for f in fetuses)])
    return Anatomy(scene, body, cavity, placenta, fetuses)


def _lay(fetus: Fetus, lie: Lie) -> Fetus:
    """Turn a fetus into its lie, and bring the middle of its extent to the origin."""
    headwards = lie.headwards / np.linalg.norm(lie.headwards)
    helper = np.array([0.0, 1.0, 0.0])
    left = np.cross(helper, headwards)
    left /= np.linalg.norm(left)
    front = np.cross(headwards, left)
    c, s = math.cos(lie.roll), math.sin(lie.roll)
    turned = fetus.moved(np.stack([c * left + s * front, c * front - s * left, headwards], axis=1), np.zeros(3))
    points = turned.core_points()
    return turned.moved(np.eye(3), -(points.min(0) + points.max(0)) / 2.0)


def _closed_around(points: Array) -> tuple[Array, Array, Array]:
    """Centre (3,) and shapes (3, 3) of two ellipsoids, centre + shape @ unit ball, that both hold ``points`` (P, 3).

    The smallest ellipsoid (multiplicative weights on the dual: Titterington 1978; Khachiyan 1996) is too pointed for a
    uterus: stretched along its length it becomes a barrel, and a broad second ellipsoid rounds off the ends.
    """
    weight = np.full(len(points), 1.0 / len(points))
    for _ in range(80):
        centre = weight @ points
        offset = points - centre
        square = 3.0 * (weight[:, None] * offset).T @ offset
        weight = weight * (1.0 + ((offset @ np.linalg.inv(square)) * offset).sum(1)) / 4.0
        weight /= weight.sum()
    width2, axes = np.linalg.eigh(square)  # the longest comes last
    along = offset @ axes
    shift = np.array([0.0, 0.0, (along[:, 2].max() + along[:, 2].min()) / 2.0])
    centre, along = centre + axes @ shift, along - shift
    length = BARREL * math.sqrt(width2[2])
    around = (along[:, :2] ** 2 / width2[:2]).sum(1)
    girth = math.sqrt((around / (1.0 - along[:, 2] ** 2 / length**2)).max())
    barrel = np.array([*girth * np.sqrt(width2[:2]), length])
    broad = BROAD * barrel[:2]
    tip = np.sqrt((along[:, 2] ** 2 / (1.0 - (along[:, :2] ** 2 / broad**2).sum(1))).max())
    return centre, axes * barrel, axes * np.array([*broad, tip])


def _of_shape(tissue: Tissue, shape: Array) -> Ellipsoid:
    """The ellipsoid shape @ unit ball."""
    axes, radii, _ = np.linalg.svd(shape)
    return Ellipsoid(tissue, np.zeros(3), axes, radii)


def _placenta(plan: AnatomyPlan, cavity: Ellipsoid, thickness_mm: float, age: float) -> Ellipsoid:
    """A lens against the wall, over the drawn place: the part of this ellipsoid that lies in the cavity."""
    half = cavity.extent
    place = np.array([plan.placenta_offset[0] * half[0], 0.0, plan.placenta_offset[1] * half[2]])
    assert cavity.within is not None
    place *= min(1.0, 0.8 / max(_miss(bound, place) for bound in (cavity, cavity.within)))
    start, along = cavity.to_unit @ place, cavity.to_unit[:, 1]
    root = math.sqrt((start @ along) ** 2 - (along @ along) * (start @ start - 1.0))
    sign = -1.0 if plan.placenta_side == "anterior" else 1.0
    place[1] = (-(start @ along) + sign * root) / (along @ along)
    outward = cavity.to_unit.T @ (cavity.to_unit @ place)
    outward /= np.linalg.norm(outward)
    upwards = np.cross(outward, np.array([1.0, 0.0, 0.0]))
    upwards /= np.linalg.norm(upwards)
    breadth = float(np.interp(age, (98.0, 140.0, 280.0), (34.0, 48.0, 80.0)))
    sag = 0.25 * breadth**2 / float(half[0])  # the wall bends away under the lens
    radii = np.array([breadth, thickness_mm + 0.3 * min(sag, thickness_mm), breadth])
    axes = np.stack([np.cross(outward, upwards), outward, upwards], axis=1)
    return Ellipsoid(Tissue.PLACENTA, cavity.centre + place, axes, radii, within=cavity.within)


def _miss(bound: Ellipsoid, place: Array) -> float:
    """How near the front-to-back line through centre + ``place`` comes to the centre: 0 through it, 1 at the rim."""
    start, along = bound.to_unit @ place, bound.to_unit[:, 1]
    return float(np.linalg.norm(start - along * (start @ along) / (along @ along)))


def _mother(plan: AnatomyPlan, cavity: Ellipsoid, wall: float, front: float) -> tuple[Ellipsoid, list[Ellipsoid]]:
    half = cavity.extent + wall
    spine_y = max(front + 95.0, cavity.centre[1] + half[1] + 28.0)
    radii = np.array([
        max(130.0 + plan.fat_mm, half[0] + abs(plan.lean_mm) + 25.0 + plan.fat_mm),
        spine_y / 2.0 + 25.0,
        max(210.0, 1.25 * half[2] + 70.0),
    ])
    middle = np.array([0.0, radii[1], max(80.0, cavity.centre[2])])
    body = ball(Tissue.SKIN, middle, radii)

    def inset(tissue: Tissue, depth_mm: float) -> Ellipsoid:
        return ball(tissue, middle, radii - depth_mm)

    # Gas in the colon on both sides of the uterus, in pouches: what the outer beams of L and R meet.
    flank = half[0] + 16.0
    colon = [
        ball(Tissue.GAS, (plan.lean_mm + side * flank, front + 24.0 + 0.16 * flank, z), (13.0, 9.0, 14.0))
        for side in (-1, 1) for z in np.arange(18.0, cavity.centre[2] + half[2] + 20.0, 34.0)
    ]
    bladder = (plan.bladder_ml * 1e3 * 0.75 / math.pi / 0.6) ** (1 / 3)
    parts = [
        body,
        inset(Tissue.FAT, SKIN_MM),
        inset(Tissue.MUSCLE, SKIN_MM + plan.fat_mm),
        inset(Tissue.BOWEL, front),
        segment(Tissue.VESSEL, np.array([11.0, spine_y - 26.0, -20.0]), np.array([11.0, spine_y - 26.0, 420.0]), 8.0),
        segment(Tissue.VESSEL, np.array([-13.0, spine_y - 24.0, -20.0]), np.array([-13.0, spine_y - 24.0, 420.0]), 9.0),
        *(ball(Tissue.MATERNAL_BONE, (0.0, spine_y, z), (19.0, 16.0, 13.0)) for z in np.arange(-10.0, 400.0, 34.0)),
        *(ball(Tissue.MATERNAL_BONE, (side * 26.0, front + 14.0, -22.0), (24.0, 11.0, 15.0)) for side in (-1, 1)),
        *colon,
        ball(Tissue.URINE, (0.0, front + 8.0 + 0.75 * bladder, 6.0 + 0.8 * bladder),
             np.array([1.0, 0.75, 0.8]) * bladder),
    ]
    return body, parts
