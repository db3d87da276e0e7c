"""The mother, her uterus and what lies in it, and the labels that follow from where things lie.

World frame (mm): x to the mother's left, y from front to back with 0 at the skin over the uterus, z
towards her head with 0 at the pubic bone. Sizes of a fetus are from charts (`growth`); those of the
mother that have no source are ours, chosen by eye.
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
BARREL = 1.5
"""How far the sides of the hull are stretched along it."""
BROAD = 1.3
"""How broad the curve of its ends is."""
PLACENTA_ROOM = 0.35
"""Half of the depth that the placenta adds to the hull, relative to its thickness.

It is less than one half because the fetus dents the placenta.
"""

_TWIN_AGES_DAYS = (140.0, 280.0)
_TWIN_SIZE_AGE = (1.0, 0.93)
"""Age whose size twins have, relative to their own: they share the room, so grow less."""
_WALL_AGES_DAYS = (98.0, 280.0)
_WALL_MM = (11.0, 7.0)
"""Thickness of the uterine wall, which stretches as the fetus grows."""
_GAP_AGES_DAYS = (98.0, 200.0)
_GAP_MM = (7.0, 2.0)
"""Distance of the uterus from the abdominal wall."""
_PLACENTA_AGES_DAYS = (98.0, 140.0, 280.0)
_PLACENTA_RADIUS_MM = (34.0, 48.0, 80.0)


@dataclass(frozen=True)
class Lie:
    """Lie of one fetus in the uterus."""

    headwards: Array
    """Direction (3,) of its head from its trunk."""
    roll: float
    """Turn about that axis (rad)."""
    posture: Posture


@dataclass(frozen=True)
class AnatomyPlan:
    """Random choices of one mother at one visit; the anatomy is a pure function of them."""

    size_ga_days: float
    """Age whose mean size the fetus has (the true age with growth scatter)."""
    bmi: float
    fat_mm: float
    muscle_mm: float
    fluid_factor: float
    """Depth of the fluid around the fetus, relative to the mean of its age."""
    bladder_ml: float
    pole_mm: float
    """Height of the lower end of the uterine cavity over the pubic bone (mm)."""
    lean_mm: float
    """Sideways offset of the uterus (mm)."""
    placenta_side: Placenta
    placenta_offset: tuple[float, float]
    """Centre of the placenta on its wall, sideways and upwards, in half-sizes of the cavity."""
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
        """``cephalic`` where the head of the first fetus points to the pelvis.

        It does if it lies below the rump, within 45 degrees of the mother's body axis.
        """
        fetus = self.fetuses[0]
        towards_head = fetus.head_centre - fetus.rump
        cos_down = -towards_head[2] / np.linalg.norm(towards_head)
        return "cephalic" if cos_down > math.cos(math.pi / 4) else "non_cephalic"

    def placenta_side(self) -> Placenta:
        """Wall of the uterus on which the placenta's centre lies."""
        return "anterior" if self.placenta.centre[1] < self.cavity.centre[1] else "posterior"

    def dvp_cm(self) -> float:
        """Deepest vertical pocket (cm): the longest front-to-back run of fluid, 10 mm wide."""
        solid = [self.placenta]
        for fetus in self.fetuses:
            solid += fetus.parts[: fetus.outline]
        return deepest_pocket_mm(self.cavity, self.fluid, solid) / 10.0


def build_anatomy(plan: AnatomyPlan) -> Anatomy:
    """The anatomy of a plan.

    Fluid bathes the fetus, deepest in front of it and between its limbs, and the uterus closes
    around fluid and placenta as a wall of even thickness, smooth where it meets its hull.
    """
    age_days = plan.size_ga_days
    size_age_days = age_days
    if len(plan.lies) > 1:
        size_age_days = age_days * float(np.interp(age_days, _TWIN_AGES_DAYS, _TWIN_SIZE_AGE))
    size = biometry(size_age_days)
    placenta_mm = placenta_thickness_mm(age_days)
    layer_mm = plan.fluid_factor * fluid_layer_mm(age_days)
    wall_mm = float(np.interp(age_days, _WALL_AGES_DAYS, _WALL_MM))
    gap_mm = float(np.interp(age_days, _GAP_AGES_DAYS, _GAP_MM))
    front_mm = SKIN_MM + plan.fat_mm + plan.muscle_mm

    # the fetuses about the origin, and the hull that closes around their fluid and the placenta
    loose = [_lay(build_fetus(size, lie.posture), lie) for lie in plan.lies]
    loose = _beside_or_above(loose)
    bathed = [part.surface() for fetus in loose for part in fetus.bath(layer_mm)[: fetus.core]]
    middle, barrel, ends = _closed_around(np.concatenate(bathed))
    room_mm = PLACENTA_ROOM * placenta_mm
    stretch = np.diag([1.0, 1.0 + room_mm / float(np.linalg.norm(barrel[1])), 1.0])
    sides = _of_shape(Tissue.MYOMETRIUM, stretch @ barrel)
    tips = _of_shape(Tissue.MYOMETRIUM, stretch @ ends)

    # both moved into the mother
    half = replace(sides, within=tips).extent
    depth = front_mm + gap_mm + wall_mm + half[1]
    centre = np.array([plan.lean_mm, depth, plan.pole_mm + half[2]])
    sides = replace(sides, centre=centre)
    cavity = replace(sides, within=replace(tips, centre=centre))
    away_from_placenta = 1.0 if plan.placenta_side == "anterior" else -1.0
    shift = centre - middle + np.array([0.0, away_from_placenta * room_mm, 0.0])
    fetuses = tuple(fetus.moved(np.eye(3), shift) for fetus in loose)
    baths = [[replace(part, within=sides) for part in fetus.bath(layer_mm)] for fetus in fetuses]
    fluid = tuple(part for bath in baths for part in bath)

    # what lies around the fluid
    placenta = _placenta(plan, cavity, fluid, placenta_mm)
    outside = sides.grown(wall_mm)
    uterus = [
        replace(part.grown(wall_mm), tissue=Tissue.MYOMETRIUM, within=outside)
        for part in (*fluid, placenta)
    ]
    placenta = replace(placenta, within=sides)
    body, mother = _mother(plan, cavity, wall_mm, front_mm)
    scene = Scene.from_groups(
        [
            (0, [*mother, *uterus]),
            *enumerate(baths, 1),
            (0, [placenta]),
            *((number, fetus.parts) for number, fetus in enumerate(fetuses, 1)),
        ]
    )
    return Anatomy(scene, body, cavity, fluid, placenta, fetuses)


def _lay(fetus: Fetus, lie: Lie) -> Fetus:
    """Turn a fetus into its lie, and bring the middle of its extent to the origin."""
    headwards = lie.headwards / np.linalg.norm(lie.headwards)
    backwards = np.array([0.0, 1.0, 0.0])  # of the mother
    left = np.cross(backwards, headwards)
    left /= np.linalg.norm(left)
    front = np.cross(headwards, left)
    c, s = math.cos(lie.roll), math.sin(lie.roll)
    rotation = np.stack([c * left + s * front, c * front - s * left, headwards], axis=1)
    turned = fetus.moved(rotation, np.zeros(3))
    points = turned.core_points()
    middle = (points.min(0) + points.max(0)) / 2.0
    return turned.moved(np.eye(3), -middle)


def _beside_or_above(fetuses: list[Fetus]) -> list[Fetus]:
    """Move fetuses so that they touch: side by side if all lie lengthwise, else one on another."""
    sizes = np.array([np.ptp(fetus.core_points(), axis=0) for fetus in fetuses])
    lengthwise = (sizes[:, 2] > sizes[:, 0]).all()
    axis = 0 if lengthwise else 2
    along = sizes[:, axis]
    middles = np.cumsum(along) - along / 2.0
    middles -= along.sum() / 2.0
    direction = np.eye(3)[axis]
    return [
        fetus.moved(np.eye(3), middle * direction)
        for fetus, middle in zip(fetuses, middles, strict=True)
    ]


def _closed_around(points: Array) -> tuple[Array, Array, Array]:
    """Centre (3,) and shapes (3, 3) of two ellipsoids that both hold ``points`` (P, 3).

    An ellipsoid is centre + shape @ unit ball. The smallest one (multiplicative weights on the
    dual: Titterington 1978; Khachiyan 1996) is too pointed for a uterus: stretched along its length
    it becomes a barrel, and a broad second ellipsoid rounds off the ends.
    """
    weight = np.full(len(points), 1.0 / len(points))
    for _ in range(80):
        centre = weight @ points
        offset = points - centre
        spread = 3.0 * (weight[:, None] * offset).T @ offset
        distance = ((offset @ np.linalg.inv(spread)) * offset).sum(1)
        weight = weight * (1.0 + distance) / 4.0
        weight /= weight.sum()

    width2, axes = np.linalg.eigh(spread)  # squared half-widths; the longest comes last
    place = offset @ axes
    highest, lowest = place[:, 2].max(), place[:, 2].min()
    shift = np.array([0.0, 0.0, (highest + lowest) / 2.0])
    centre = centre + axes @ shift
    place = place - shift

    # as long as BARREL says, and just wide enough for the points
    length = BARREL * math.sqrt(width2[2])
    across2 = (place[:, :2] ** 2 / width2[:2]).sum(1)
    room_across2 = 1.0 - place[:, 2] ** 2 / length**2
    girth = math.sqrt((across2 / room_across2).max())
    barrel = np.array([*girth * np.sqrt(width2[:2]), length])

    # as broad as BROAD says, and just long enough
    broad = BROAD * barrel[:2]
    room_along2 = 1.0 - (place[:, :2] ** 2 / broad**2).sum(1)
    tip = np.sqrt((place[:, 2] ** 2 / room_along2).max())
    return centre, axes * barrel, axes * np.array([*broad, tip])


def _of_shape(tissue: Tissue, shape: Array) -> Ellipsoid:
    """The ellipsoid shape @ unit ball."""
    axes, radii, _ = np.linalg.svd(shape)
    return Ellipsoid(tissue, np.zeros(3), axes, radii)


def _placenta(
    plan: AnatomyPlan, cavity: Ellipsoid, fluid: Sequence[Ellipsoid], thickness_mm: float
) -> Ellipsoid:
    """A lens where the drawn place meets the wall around the fluid, facing as the hull does."""
    half = cavity.extent
    sideways, upwards = plan.placenta_offset
    drawn = cavity.centre + np.array([sideways * half[0], 0.0, upwards * half[2]])
    belly = fluid[2].centre  # of the first fetus; it has fluid around it
    for share in (1.0, 0.75, 0.5, 0.25, 0.0):  # nearer to the belly, until there is fluid
        place = belly + share * (drawn - belly)
        runs = np.array([crossings(part, place[:1], place[2:]) for part in fluid])
        entry, leave = runs[:, :, 0, 0].T
        if (entry < leave).any():
            break
    place[1] = entry.min() if plan.placenta_side == "anterior" else leave.max()

    outward = cavity.to_unit.T @ (cavity.to_unit @ (place - cavity.centre))
    outward /= np.linalg.norm(outward)
    up = np.cross(outward, np.array([1.0, 0.0, 0.0]))
    up /= np.linalg.norm(up)
    axes = np.stack([np.cross(outward, up), outward, up], axis=1)
    breadth_mm = float(np.interp(plan.size_ga_days, _PLACENTA_AGES_DAYS, _PLACENTA_RADIUS_MM))
    radii = np.array([breadth_mm, 0.5 * thickness_mm, breadth_mm])
    return Ellipsoid(Tissue.PLACENTA, place + 0.05 * thickness_mm * outward, axes, radii)


def _mother(
    plan: AnatomyPlan, cavity: Ellipsoid, wall_mm: float, front_mm: float
) -> tuple[Ellipsoid, list[Ellipsoid]]:
    """The mother's body, and all of her but the uterus in painting order, the body first."""
    half = cavity.extent + wall_mm
    spine_y = max(front_mm + 95.0, cavity.centre[1] + half[1] + 28.0)
    half_width = max(130.0 + plan.fat_mm, half[0] + abs(plan.lean_mm) + 25.0 + plan.fat_mm)
    half_height = max(210.0, 1.25 * half[2] + 70.0)
    radii = np.array([half_width, spine_y / 2.0 + 25.0, half_height])
    middle = np.array([0.0, radii[1], max(80.0, cavity.centre[2])])
    body = ball(Tissue.SKIN, middle, radii)
    layers = [
        body,
        ball(Tissue.FAT, middle, radii - SKIN_MM),
        ball(Tissue.MUSCLE, middle, radii - (SKIN_MM + plan.fat_mm)),
        ball(Tissue.BOWEL, middle, radii - front_mm),
    ]
    top = cavity.centre[2] + half[2]
    return body, [
        *layers,
        _upright_vessel(11.0, spine_y - 26.0, 8.0),  # aorta
        _upright_vessel(-13.0, spine_y - 24.0, 9.0),  # vena cava
        *_spine_and_pelvis(spine_y, front_mm),
        *_colon(plan.lean_mm, half[0] + 16.0, front_mm, top),
        _bladder(plan.bladder_ml, front_mm),
    ]


def _upright_vessel(x: float, y: float, radius_mm: float) -> Ellipsoid:
    lower, upper = np.array([x, y, -20.0]), np.array([x, y, 420.0])
    return segment(Tissue.VESSEL, lower, upper, radius_mm)


def _spine_and_pelvis(spine_y: float, front_mm: float) -> list[Ellipsoid]:
    vertebrae = [
        ball(Tissue.MATERNAL_BONE, (0.0, spine_y, z), (19.0, 16.0, 13.0))
        for z in np.arange(-10.0, 400.0, 34.0)
    ]
    pubis = [
        ball(Tissue.MATERNAL_BONE, (side * 26.0, front_mm + 14.0, -22.0), (24.0, 11.0, 15.0))
        for side in (-1, 1)
    ]
    return vertebrae + pubis


def _colon(lean_mm: float, flank_mm: float, front_mm: float, top: float) -> list[Ellipsoid]:
    """Gas on both sides of the uterus, in pouches: what the outer beams of L and R meet."""
    pouches = []
    y = front_mm + 24.0 + 0.16 * flank_mm
    for side in (-1, 1):
        for z in np.arange(18.0, top + 20.0, 34.0):
            centre = (lean_mm + side * flank_mm, y, z)
            pouches.append(ball(Tissue.GAS, centre, (13.0, 9.0, 14.0)))
    return pouches


def _bladder(volume_ml: float, front_mm: float) -> Ellipsoid:
    # volume of an ellipsoid: 4/3 pi r^3 times its proportions, 1 x 0.75 x 0.8
    radius_mm = (volume_ml * 1e3 * 0.75 / math.pi / 0.6) ** (1 / 3)
    centre = (0.0, front_mm + 8.0 + 0.75 * radius_mm, 6.0 + 0.8 * radius_mm)
    return ball(Tissue.URINE, centre, np.array([1.0, 0.75, 0.8]) * radius_mm)
