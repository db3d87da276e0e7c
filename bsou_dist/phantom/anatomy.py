"""The mother, her uterus and what lies in it, and the labels that follow from where things lie.

World frame (mm): x to the mother's left, y from front to back with 0 at the skin over the uterus, z
towards her head with 0 at the pubic bone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from bsou_dist.phantom.ellipsoids import Array, Ellipsoid, Scene, ball, segment
from bsou_dist.phantom.fetus import Fetus, Posture, build_fetus
from bsou_dist.phantom.growth import biometry, fluid_layer_mm, placenta_thickness_mm
from bsou_dist.phantom.pocket import crossings, deepest_pocket_mm
from bsou_dist.phantom.tissues import Tissue

Presentation = Literal["cephalic", "non_cephalic"]
Placenta = Literal["anterior", "posterior"]

SKIN_MM = 2.5
BARREL, BROAD = 1.5, 1.3
"""Shape of the hull: how far its sides are stretched along it, and how broad the curve of its ends
is.
"""
PLACENTA_ROOM = 0.35
"""Half of the depth that the placenta adds to the hull, relative to its thickness: the fetus dents
it.
"""


@dataclass(frozen=True)
class Lie:
    """How one fetus lies: direction of its head from its trunk (3,), turn about that axis (rad),
    posture.
    """

    headwards: Array
    roll: float
    posture: Posture


@dataclass(frozen=True)
class AnatomyPlan:
    """What is drawn by chance about one mother at one visit; the anatomy is a pure function of
    it.
    """

    size_ga_days: float
    """Age whose mean size the fetus has (the true age with growth scatter)."""
    bmi: float
    fat_mm: float
    muscle_mm: float
    fluid_factor: float
    """Depth of the fluid around the fetus relative to the mean of its age: what its deepest pocket
    follows.
    """
    bladder_ml: float
    pole_mm: float
    """Height of the lower end of the uterine cavity over the pubic bone (mm)."""
    lean_mm: float
    """Sideways offset of the uterus (mm)."""
    placenta_side: Placenta
    placenta_offset: tuple[float, float]
    """Centre of the placenta on its wall, sideways and upwards, relative to front-to-back: the way
    its wall faces.
    """
    lies: tuple[Lie, ...]


@dataclass(frozen=True)
class Anatomy:
    """A body ready to be imaged, with the positions its labels are read from (world frame, mm)."""

    scene: Scene
    body: Ellipsoid
    cavity: Ellipsoid
    """A smooth hull around the fluid; its sides bound the fluid, its ends only measure it."""
    fluid: tuple[Ellipsoid, ...]
    placenta: Ellipsoid
    fetuses: tuple[Fetus, ...]

    @property
    def fundus_mm(self) -> float:
        """Height of the top of the uterine cavity over the pubic bone."""
        return float(self.cavity.centre[2] + self.cavity.extent[2])

    def presentation(self) -> Presentation:
        """``cephalic`` where the head points to the pelvis: below the rump, within 45 degrees of
        the body axis.
        """
        fetus = self.fetuses[0]
        towards_head = fetus.head_centre - fetus.rump
        down = -towards_head[2] / np.linalg.norm(towards_head)
        return "cephalic" if down > math.cos(math.pi / 4) else "non_cephalic"

    def placenta_side(self) -> Placenta:
        """Wall of the uterus on which the placenta's centre lies."""
        return "anterior" if self.placenta.centre[1] < self.cavity.centre[1] else "posterior"

    def dvp_cm(self) -> float:
        """Deepest vertical pocket (cm): longest front-to-back run of fluid, 10 mm wide from side to
        side.
        """
        solid = [
            self.placenta,
            *(part for fetus in self.fetuses for part in fetus.parts[: fetus.outline]),
        ]
        return deepest_pocket_mm(self.cavity, self.fluid, solid) / 10.0


def build_anatomy(plan: AnatomyPlan) -> Anatomy:
    """The anatomy of a plan.

    Fetal size follows Hadlock (1984). Fluid bathes the fetus, deepest in front of it and between
    its limbs, and the uterus closes around fluid and placenta as a wall of even thickness, smooth
    where it meets its hull.
    """
    age, number = plan.size_ga_days, len(plan.lies)
    size = biometry(age)
    if number > 1:  # twins share the room: smaller towards term
        size = biometry(age * float(np.interp(age, (140.0, 280.0), (1.0, 0.93))))
    thickness = placenta_thickness_mm(age)
    towards_back = 1.0 if plan.placenta_side == "anterior" else -1.0
    loose = [_lay(build_fetus(size, lie.posture), lie) for lie in plan.lies]
    loose = _beside_or_above(loose)

    room, layer = PLACENTA_ROOM * thickness, plan.fluid_factor * fluid_layer_mm(age)
    middle, barrel, ends = _closed_around(
        np.concatenate([part.surface() for f in loose for part in f.bath(layer)[: f.core]])
    )
    stretch = np.diag([1.0, 1.0 + room / float(np.linalg.norm(barrel[1])), 1.0])
    sides, tips = (
        _of_shape(Tissue.MYOMETRIUM, stretch @ barrel),
        _of_shape(Tissue.MYOMETRIUM, stretch @ ends),
    )

    wall = float(np.interp(age, (98.0, 280.0), (11.0, 7.0)))
    front = SKIN_MM + plan.fat_mm + plan.muscle_mm
    gap = float(np.interp(age, (98.0, 200.0), (7.0, 2.0)))
    half = replace(sides, within=tips).extent
    centre = np.array([plan.lean_mm, front + gap + wall + half[1], plan.pole_mm + half[2]])
    sides = replace(sides, centre=centre)
    cavity = replace(sides, within=replace(tips, centre=centre))
    shift = centre - middle + np.array([0.0, towards_back * room, 0.0])
    fetuses = tuple(f.moved(np.eye(3), shift) for f in loose)
    baths = [[replace(part, within=sides) for part in f.bath(layer)] for f in fetuses]
    fluid = tuple(part for bath in baths for part in bath)
    placenta = _placenta(plan, cavity, fluid, thickness, age)
    outside = sides.grown(wall)
    uterus = [
        replace(part.grown(wall), tissue=Tissue.MYOMETRIUM, within=outside)
        for part in (*fluid, placenta)
    ]
    body, mother = _mother(plan, cavity, wall, front)
    scene = Scene.of(
        [
            (0, [*mother, *uterus]),
            *enumerate(baths, 1),
            (0, [replace(placenta, within=sides)]),
            *((k, f.parts) for k, f in enumerate(fetuses, 1)),
        ]
    )
    return Anatomy(scene, body, cavity, fluid, replace(placenta, within=sides), fetuses)


def _lay(fetus: Fetus, lie: Lie) -> Fetus:
    """Turn a fetus into its lie, and bring the middle of its extent to the origin."""
    headwards = lie.headwards / np.linalg.norm(lie.headwards)
    helper = np.array([0.0, 1.0, 0.0])
    left = np.cross(helper, headwards)
    left /= np.linalg.norm(left)
    front = np.cross(headwards, left)
    c, s = math.cos(lie.roll), math.sin(lie.roll)
    turned = fetus.moved(
        np.stack([c * left + s * front, c * front - s * left, headwards], axis=1), np.zeros(3)
    )
    points = turned.core_points()
    return turned.moved(np.eye(3), -(points.min(0) + points.max(0)) / 2.0)


def _beside_or_above(fetuses: list[Fetus]) -> list[Fetus]:
    """Fetuses that touch: side by side where all lie lengthwise, else the first below."""
    size = np.array([np.ptp(fetus.core_points(), axis=0) for fetus in fetuses])
    axis = 0 if (size[:, 2] > size[:, 0]).all() else 2
    middle = np.cumsum(size[:, axis]) - size[:, axis] / 2.0
    middle -= size[:, axis].sum() / 2.0
    return [
        fetus.moved(np.eye(3), step * np.eye(3)[axis])
        for fetus, step in zip(fetuses, middle, strict=True)
    ]


def _closed_around(points: Array) -> tuple[Array, Array, Array]:
    """Centre (3,) and shapes (3, 3) of two ellipsoids, centre + shape @ unit ball, that both hold
    ``points`` (P, 3).

    The smallest ellipsoid (multiplicative weights on the dual: Titterington 1978; Khachiyan 1996)
    is too pointed for a uterus: stretched along its length it becomes a barrel, and a broad second
    ellipsoid rounds off the ends.
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


def _placenta(
    plan: AnatomyPlan,
    cavity: Ellipsoid,
    fluid: Sequence[Ellipsoid],
    thickness_mm: float,
    age: float,
) -> Ellipsoid:
    """A lens where the drawn place meets the wall around the fluid, facing as the hull does
    there.
    """
    half, belly = cavity.extent, fluid[2].centre
    drawn = cavity.centre + np.array(
        [plan.placenta_offset[0] * half[0], 0.0, plan.placenta_offset[1] * half[2]]
    )
    for share in (
        1.0,
        0.75,
        0.5,
        0.25,
        0.0,
    ):  # nearer to the first fetus's belly, until there is fluid
        place = belly + share * (drawn - belly)
        entry, leave = np.array([crossings(part, place[:1], place[2:]) for part in fluid])[
            :, :, 0, 0
        ].T
        if (entry < leave).any():
            break
    place[1] = entry.min() if plan.placenta_side == "anterior" else leave.max()
    outward = cavity.to_unit.T @ (cavity.to_unit @ (place - cavity.centre))
    outward /= np.linalg.norm(outward)
    upwards = np.cross(outward, np.array([1.0, 0.0, 0.0]))
    upwards /= np.linalg.norm(upwards)
    breadth = float(np.interp(age, (98.0, 140.0, 280.0), (34.0, 48.0, 80.0)))
    axes = np.stack([np.cross(outward, upwards), outward, upwards], axis=1)
    radii = np.array([breadth, 0.5 * thickness_mm, breadth])
    return Ellipsoid(Tissue.PLACENTA, place + 0.05 * thickness_mm * outward, axes, radii)


def _mother(
    plan: AnatomyPlan, cavity: Ellipsoid, wall: float, front: float
) -> tuple[Ellipsoid, list[Ellipsoid]]:
    half = cavity.extent + wall
    spine_y = max(front + 95.0, cavity.centre[1] + half[1] + 28.0)
    radii = np.array(
        [
            max(130.0 + plan.fat_mm, half[0] + abs(plan.lean_mm) + 25.0 + plan.fat_mm),
            spine_y / 2.0 + 25.0,
            max(210.0, 1.25 * half[2] + 70.0),
        ]
    )
    middle = np.array([0.0, radii[1], max(80.0, cavity.centre[2])])
    body = ball(Tissue.SKIN, middle, radii)

    def inset(tissue: Tissue, depth_mm: float) -> Ellipsoid:
        return ball(tissue, middle, radii - depth_mm)

    # Gas in the colon on both sides of the uterus, in pouches: what the outer beams of L and R
    # meet.
    flank = half[0] + 16.0
    colon = [
        ball(
            Tissue.GAS,
            (plan.lean_mm + side * flank, front + 24.0 + 0.16 * flank, z),
            (13.0, 9.0, 14.0),
        )
        for side in (-1, 1)
        for z in np.arange(18.0, cavity.centre[2] + half[2] + 20.0, 34.0)
    ]
    bladder = (plan.bladder_ml * 1e3 * 0.75 / math.pi / 0.6) ** (1 / 3)
    parts = [
        body,
        inset(Tissue.FAT, SKIN_MM),
        inset(Tissue.MUSCLE, SKIN_MM + plan.fat_mm),
        inset(Tissue.BOWEL, front),
        segment(
            Tissue.VESSEL,
            np.array([11.0, spine_y - 26.0, -20.0]),
            np.array([11.0, spine_y - 26.0, 420.0]),
            8.0,
        ),
        segment(
            Tissue.VESSEL,
            np.array([-13.0, spine_y - 24.0, -20.0]),
            np.array([-13.0, spine_y - 24.0, 420.0]),
            9.0,
        ),
        *(
            ball(Tissue.MATERNAL_BONE, (0.0, spine_y, z), (19.0, 16.0, 13.0))
            for z in np.arange(-10.0, 400.0, 34.0)
        ),
        *(
            ball(Tissue.MATERNAL_BONE, (side * 26.0, front + 14.0, -22.0), (24.0, 11.0, 15.0))
            for side in (-1, 1)
        ),
        *colon,
        ball(
            Tissue.URINE,
            (0.0, front + 8.0 + 0.75 * bladder, 6.0 + 0.8 * bladder),
            np.array([1.0, 0.75, 0.8]) * bladder,
        ),
    ]
    return body, parts
