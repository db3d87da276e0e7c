"""A fetus as ellipsoids, in its own frame.

The frame (mm): x to its left, y ventral, z towards its head, origin in the trunk. Proportions that
no chart gives are ours, chosen by eye, in abdominal diameters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from bsou_dist.phantom.ellipsoids import Array, Ellipsoid, ball, segment
from bsou_dist.phantom.growth import Biometry
from bsou_dist.phantom.tissues import Tissue

Triple = tuple[float, float, float]

VERTEBRAE = 17
RIBS = 7
BELLY = 2
"""Place of the belly, whose girth is the abdominal circumference, among a fetus's parts."""
BACK = 0.35
"""Depth of the fluid behind the fetus, relative to that in front of it."""
LIMBS = 1.2
"""Depth of the fluid around its limbs, relative to that in front of it."""


@dataclass(frozen=True)
class Posture:
    """Angles (rad) of a fetus: bend of the trunk, flexion of the head, of hips, knees and arms."""

    trunk: float
    head: float
    hips: tuple[float, float]
    knees: tuple[float, float]
    arms: tuple[float, float]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Posture:
        """Draw a posture as fetuses take: curled up, with the limbs folded in front."""

        def pair(low: float, high: float) -> tuple[float, float]:
            return float(rng.uniform(low, high)), float(rng.uniform(low, high))

        # each draws a pair and drops one, so that a seed keeps its cohort
        trunk, _ = pair(0.15, 0.5)
        head, _ = pair(0.1, 0.5)
        return cls(trunk, head, hips=pair(1.7, 2.4), knees=pair(1.6, 2.6), arms=pair(-0.6, 0.9))


class _Trunk:
    """The body's axis: an arc of total angle ``bend`` (rad), its ends curling to the front.

    Places along it are in trunk lengths from its middle, other lengths in abdominal diameters,
    ``width`` (mm).
    """

    def __init__(self, width: float, bend: float) -> None:
        self.width = width
        self.length = 1.75 * width
        self.curvature = bend / self.length

    def frame(self, along: float, tilt: float = 0.0) -> Array:
        """Axes (3, 3; columns left, front, headwards) at a place, tilted forwards (rad)."""
        angle = self.curvature * along * self.length + tilt
        c, s = math.cos(angle), math.sin(angle)
        return np.array([[1.0, 0.0, 0.0], [0.0, c, s], [0.0, -s, c]])

    def point(self, along: float, left: float = 0.0, front: float = 0.0) -> Array:
        """Point (3,) mm beside a place of the axis."""
        angle = self.curvature * along * self.length
        ahead = (1.0 - math.cos(angle)) / self.curvature
        up = math.sin(angle) / self.curvature
        beside = np.array([left * self.width, front * self.width, 0.0])
        return np.array([0.0, ahead, up]) + self.frame(along) @ beside

    def part(
        self, tissue: Tissue, along: float, radii: Triple, left: float = 0.0, front: float = 0.0
    ) -> Ellipsoid:
        """Ellipsoid square to the axis, beside a place of it."""
        centre = self.point(along, left, front)
        return Ellipsoid(tissue, centre, self.frame(along), np.array(radii) * self.width)


@dataclass(frozen=True)
class Fetus:
    """Parts in painting order, and points to read labels from (world frame, mm).

    The first ``core`` parts are trunk and head. The first ``outline`` parts are all of the skin, so
    that no other part lies outside them.
    """

    parts: list[Ellipsoid]
    core: int
    outline: int
    head_centre: Array
    rump: Array

    def moved(self, rotation: Array, shift: Array) -> Fetus:
        """The same fetus after the motion p -> rotation p + shift."""
        return Fetus(
            [part.moved(rotation, shift) for part in self.parts],
            self.core,
            self.outline,
            head_centre=rotation @ self.head_centre + shift,
            rump=rotation @ self.rump + shift,
        )

    def core_points(self) -> Array:
        """Points (P, 3) on trunk and head: the uterus closes around these, folding the limbs in."""
        return np.concatenate([part.surface() for part in self.parts[: self.core]])

    def bath(self, layer_mm: float) -> list[Ellipsoid]:
        """The fluid around it, ``layer_mm`` deep in front of trunk and face.

        A fetus leans its back against the uterus, with a film of fluid between; what fluid there is
        gathers where the fetus is folded, between its limbs.
        """
        film_mm = BACK * layer_mm
        lean_mm = 0.5 * (1.0 - BACK) * layer_mm
        around = []
        for part in self.parts[: self.core]:
            ventral = part.axes[:, 1]
            shifted = part.centre + lean_mm * ventral
            around.append(replace(part.grown(film_mm + lean_mm), centre=shifted))
        for part in self.parts[self.core : self.outline]:
            around.append(part.grown(LIMBS * layer_mm))
        return [replace(part, tissue=Tissue.FLUID) for part in around]


def build_fetus(size: Biometry, posture: Posture) -> Fetus:
    """A fetus of the given size and posture, in its own frame.

    Head width and length are BPD and OFD (outer to outer), the abdomen's girth is AC, the femur's
    length FL.
    """
    width_mm = size.ac_mm / math.pi  # abdominal diameter
    trunk = _Trunk(width_mm, posture.trunk)

    head_frame = trunk.frame(0.5, posture.head)
    head_radii = np.array([size.bpd_mm, size.ofd_mm, 0.88 * size.ofd_mm]) / 2.0
    above_neck = np.array([0.0, 0.06 * width_mm, 0.9 * head_radii[2]])
    head = trunk.point(0.5) + trunk.frame(0.5, posture.head / 2) @ above_neck
    face = head + head_frame @ (head_radii * np.array([0.0, 0.62, -0.55]))
    face_radii = head_radii * np.array([0.62, 0.42, 0.50])

    core = [
        trunk.part(Tissue.SOFT, 0.47, (0.25, 0.25, 0.24)),  # neck
        trunk.part(Tissue.SOFT, 0.24, (0.47, 0.44, 0.62)),  # chest
        trunk.part(Tissue.SOFT, -0.07, (0.50, 0.50, 0.58)),  # belly, of girth AC
        trunk.part(Tissue.SOFT, -0.33, (0.43, 0.40, 0.40)),  # pelvis
        Ellipsoid(Tissue.SOFT, face, head_frame, face_radii),
        Ellipsoid(Tissue.SKULL, head, head_frame, head_radii),
    ]
    soft_limbs, bones = _limbs(size.fl_mm, trunk, posture)
    outline = core + soft_limbs
    inner = _head(head, head_frame, head_radii) + _chest(trunk) + _abdomen(trunk) + _spine(trunk)
    return Fetus(
        parts=outline + inner + bones,
        core=len(core),
        outline=len(outline),
        head_centre=head,
        rump=trunk.point(-0.5),
    )


def _head(centre: Array, frame: Array, radii: Array) -> list[Ellipsoid]:
    """Contents of the skull; places and sizes are relative to the half-axes of its inside."""
    skull_mm = max(1.6, 0.035 * radii[0])
    inside = radii - skull_mm

    def part(tissue: Tissue, place: Triple, size: Triple) -> Ellipsoid:
        at = centre + frame @ (inside * np.array(place))
        return Ellipsoid(tissue, at, frame, inside * np.array(size))

    def pair(tissue: Tissue, place: Triple, size: Triple) -> list[Ellipsoid]:
        across, front, up = place
        return [part(tissue, (side * across, front, up), size) for side in (-1, 1)]

    falx_width = max(0.8 / inside[0], 0.032)  # a half-width of at least 0.8 mm
    return [
        part(Tissue.BRAIN, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        part(Tissue.FALX, (0.0, 0.0, 0.12), (falx_width, 0.93, 0.84)),
        part(Tissue.BRAIN, (0.0, 0.1, -0.05), (0.30, 0.24, 0.24)),  # thalami
        part(Tissue.VENTRICLE, (0.0, 0.46, 0.05), (0.10, 0.15, 0.16)),  # cavum septi pellucidi
        *pair(Tissue.VENTRICLE, (0.36, -0.28, 0.18), (0.14, 0.40, 0.22)),
        *pair(Tissue.CHOROID, (0.36, -0.34, 0.18), (0.10, 0.26, 0.15)),
        *pair(Tissue.CHOROID, (0.26, -0.55, -0.45), (0.26, 0.20, 0.20)),  # cerebellum
        *pair(Tissue.VENTRICLE, (0.36, 0.84, -0.62), (0.17, 0.12, 0.16)),  # orbits
    ]


def _chest(trunk: _Trunk) -> list[Ellipsoid]:
    width = trunk.width
    # Ribs are the rims of thin discs: the lungs, painted next, cover all but the rim.
    ribs = []
    half_thickness = np.array([0.0, 0.0, max(0.9, 0.018 * width)])
    rims = (0.96, 1.0, 1.0, 0.98, 0.93, 0.85, 0.72)
    for along, rim in zip(np.linspace(0.06, 0.40, RIBS), rims, strict=True):
        radii = np.array([0.44, 0.40, 0.0]) * rim * width + half_thickness
        ribs.append(Ellipsoid(Tissue.BONE, trunk.point(along), trunk.frame(along, -0.25), radii))
    lungs = trunk.part(Tissue.LUNG, 0.24, (0.41, 0.37, 0.50))

    heart_at = trunk.point(0.18, left=0.09, front=0.14)
    heart_frame = trunk.frame(0.18) @ _turn(0.7)
    heart_radii = np.array([0.19, 0.24, 0.19]) * width
    heart = [Ellipsoid(Tissue.HEART, heart_at, heart_frame, heart_radii)]
    for x in (-0.085, 0.085):
        for y in (-0.10, 0.09):  # atria behind, ventricles in front
            chamber_at = heart_at + heart_frame @ (np.array([x, y, 0.0]) * width)
            chamber_radii = np.array([0.065, 0.09 if y > 0 else 0.07, 0.12]) * width
            heart.append(Ellipsoid(Tissue.BLOOD, chamber_at, heart_frame, chamber_radii))

    aorta = segment(
        Tissue.BLOOD,
        trunk.point(0.34, left=0.05, front=-0.22),
        trunk.point(-0.3, left=0.03, front=-0.22),
        0.035 * width,
        overshoot=1.1,
    )
    return [*ribs, lungs, *heart, aorta]


def _abdomen(trunk: _Trunk) -> list[Ellipsoid]:
    kidney = (0.11, 0.11, 0.20)
    return [
        trunk.part(Tissue.LIVER, 0.0, (0.36, 0.34, 0.20), left=-0.06, front=0.08),
        trunk.part(Tissue.STOMACH, 0.0, (0.11, 0.15, 0.10), left=0.24, front=-0.04),
        trunk.part(Tissue.BLOOD, -0.02, (0.035, 0.18, 0.05), front=0.18),  # umbilical vein
        trunk.part(Tissue.KIDNEY, -0.14, kidney, left=-0.19, front=-0.24),
        trunk.part(Tissue.KIDNEY, -0.14, kidney, left=0.19, front=-0.24),
        trunk.part(Tissue.STOMACH, -0.40, (0.09, 0.09, 0.10), front=0.12),  # bladder
    ]


def _spine(trunk: _Trunk) -> list[Ellipsoid]:
    pitch_mm = 1.06 * trunk.length / VERTEBRAE
    radii = np.array([0.085 * trunk.width, 0.065 * trunk.width, 0.36 * pitch_mm])
    vertebrae = []
    for along in np.linspace(-0.46, 0.60, VERTEBRAE):
        behind = float(np.interp(along, (-0.46, -0.3, 0.3, 0.6), (0.22, 0.34, 0.33, 0.17)))
        centre = trunk.point(along, front=-behind)
        vertebrae.append(Ellipsoid(Tissue.VERTEBRA, centre, trunk.frame(along), radii))
    return vertebrae


def _limbs(
    femur_mm: float, trunk: _Trunk, posture: Posture
) -> tuple[list[Ellipsoid], list[Ellipsoid]]:
    """Soft parts and bones of legs and arms, folded in front of the body."""
    soft: list[Ellipsoid] = []
    bones: list[Ellipsoid] = []
    width = trunk.width
    pelvis = trunk.frame(-0.36)
    shoulders = trunk.frame(0.38)

    def add_limb(start: Array, end: Array, thickness: float, bone: float) -> None:
        soft.append(segment(Tissue.SOFT, start, end, thickness * width, overshoot=1.25))
        bones.append(segment(Tissue.BONE, start, end, max(1.0, bone * width), overshoot=1.0))

    for side in (-1, 1):
        index = 0 if side < 0 else 1
        hip_angle = posture.hips[index]
        shin_angle = hip_angle - posture.knees[index]
        hip = trunk.point(-0.36, left=side * 0.24, front=0.12)
        thigh = pelvis @ _vector(side * 0.25, math.sin(hip_angle), -math.cos(hip_angle))
        knee = hip + _of_length(femur_mm, thigh)
        shin = pelvis @ _vector(-side * 0.45, math.sin(shin_angle), -math.cos(shin_angle))
        ankle = knee + _of_length(0.88 * femur_mm, shin)
        toes = ankle + pelvis @ _vector(0.0, 0.30, -0.12) * width
        add_limb(hip, knee, 0.20, 0.034)
        add_limb(knee, ankle, 0.14, 0.030)
        soft.append(segment(Tissue.SOFT, ankle, toes, 0.09 * width, overshoot=1.2))

        shoulder = trunk.point(0.38, left=side * 0.42, front=0.05)
        upper_arm = shoulders @ _vector(side * 0.15, 0.75, -0.75)
        elbow = shoulder + _of_length(0.92 * femur_mm, upper_arm)
        forearm = shoulders @ _vector(-side * 0.6, 0.35, math.sin(posture.arms[index]))
        wrist = elbow + _of_length(0.8 * femur_mm, forearm)
        add_limb(shoulder, elbow, 0.135, 0.028)
        add_limb(elbow, wrist, 0.11, 0.024)
        soft.append(ball(Tissue.SOFT, wrist, _vector(0.12, 0.12, 0.12) * width))  # hand
    return soft, bones


def _vector(*coordinates: float) -> Array:
    return np.array(coordinates)


def _of_length(length_mm: float, direction: Array) -> Array:
    return length_mm * direction / np.linalg.norm(direction)


def _turn(angle: float) -> Array:
    """Rotation (3, 3) about the third axis."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
