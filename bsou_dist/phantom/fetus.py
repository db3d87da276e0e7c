"""A fetus as ellipsoids, in its own frame: x to its left, y ventral, z towards its head, origin in
the trunk (mm).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from bsou_dist.phantom.ellipsoids import Array, Ellipsoid, ball, segment
from bsou_dist.phantom.growth import Biometry
from bsou_dist.phantom.tissues import Tissue

VERTEBRAE = 17
RIBS = 7
BACK, LIMBS = 0.35, 1.2
"""Depth of the fluid behind the fetus and around its limbs, relative to that in front of it."""


@dataclass(frozen=True)
class Posture:
    """How a fetus holds itself (radians): bend of the trunk, flexion of the head, and of hips,
    knees and arms.
    """

    trunk: float
    head: float
    hips: tuple[float, float]
    knees: tuple[float, float]
    arms: tuple[float, float]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Posture:
        def two(low: float, high: float) -> tuple[float, float]:
            return float(rng.uniform(low, high)), float(rng.uniform(low, high))

        trunk, head = two(0.15, 0.5)[0], two(0.1, 0.5)[0]
        return cls(trunk, head, hips=two(1.7, 2.4), knees=two(1.6, 2.6), arms=two(-0.6, 0.9))


class _Trunk:
    """The bent body axis: an arc of length ``length`` mm and total angle ``bend``, ends curling to
    the front.
    """

    def __init__(self, length: float, bend: float) -> None:
        self.length, self.curvature = length, bend / length

    def frame(self, along: float, tilt: float = 0.0) -> Array:
        """Axes (3, 3; columns left, front, headwards) at ``along`` trunk lengths from the middle,
        tilted forwards.
        """
        angle = self.curvature * along * self.length + tilt
        c, s = math.cos(angle), math.sin(angle)
        return np.array([[1.0, 0.0, 0.0], [0.0, c, s], [0.0, -s, c]])

    def point(self, along: float, left: float = 0.0, front: float = 0.0) -> Array:
        """Point (3,) mm beside the axis at ``along`` trunk lengths from the middle."""
        angle = self.curvature * along * self.length
        axis = np.array(
            [0.0, (1.0 - math.cos(angle)) / self.curvature, math.sin(angle) / self.curvature]
        )
        return axis + self.frame(along) @ np.array([left, front, 0.0])


@dataclass(frozen=True)
class Fetus:
    """``parts`` in painting order: the first ``core`` are trunk and head; the first ``outline`` are
    all of the skin, so that no other part lies outside them.
    """

    parts: list[Ellipsoid]
    core: int
    outline: int
    head_centre: Array
    rump: Array

    def moved(self, rotation: Array, shift: Array) -> Fetus:
        return Fetus(
            [part.moved(rotation, shift) for part in self.parts],
            self.core,
            self.outline,
            rotation @ self.head_centre + shift,
            rotation @ self.rump + shift,
        )

    def core_points(self) -> Array:
        """Points (P, 3) on trunk and head: the uterus closes around these and folds the limbs
        in.
        """
        return np.concatenate([part.surface() for part in self.parts[: self.core]])

    def bath(self, layer_mm: float) -> list[Ellipsoid]:
        """The fluid around it: a film over the back, ``layer_mm`` deep in front of trunk and face,
        more between limbs.

        A fetus leans its back against the uterus; what fluid there is gathers where it is folded.
        """
        film, lean = BACK * layer_mm, 0.5 * (1.0 - BACK) * layer_mm
        around = [
            replace(part.grown(film + lean), centre=part.centre + lean * part.axes[:, 1])
            for part in self.parts[: self.core]
        ]
        around += [part.grown(LIMBS * layer_mm) for part in self.parts[self.core : self.outline]]
        return [replace(part, tissue=Tissue.FLUID) for part in around]


def build_fetus(size: Biometry, posture: Posture) -> Fetus:
    """A fetus of the given size and posture, in its own frame.

    Head width and length are BPD and OFD (outer to outer), the abdomen's girth is AC, the femur's
    length FL.
    """
    width = size.ac_mm / math.pi  # abdominal diameter
    trunk = _Trunk(1.75 * width, posture.trunk)

    head_frame = trunk.frame(0.5, posture.head)
    head_radii = np.array([size.bpd_mm, size.ofd_mm, 0.88 * size.ofd_mm]) / 2.0
    head = trunk.point(0.5) + trunk.frame(0.5, posture.head / 2) @ np.array(
        [0.0, 0.06 * width, 0.9 * head_radii[2]]
    )

    outline = [
        Ellipsoid(
            Tissue.SOFT, trunk.point(0.47), trunk.frame(0.47), np.array([0.25, 0.25, 0.24]) * width
        ),
        Ellipsoid(
            Tissue.SOFT, trunk.point(0.24), trunk.frame(0.24), np.array([0.47, 0.44, 0.62]) * width
        ),
        Ellipsoid(
            Tissue.SOFT,
            trunk.point(-0.07),
            trunk.frame(-0.07),
            np.array([0.50, 0.50, 0.58]) * width,
        ),
        Ellipsoid(
            Tissue.SOFT,
            trunk.point(-0.33),
            trunk.frame(-0.33),
            np.array([0.43, 0.40, 0.40]) * width,
        ),
    ]
    face = head + head_frame @ (head_radii * np.array([0.0, 0.62, -0.55]))
    outline.append(
        Ellipsoid(Tissue.SOFT, face, head_frame, head_radii * np.array([0.62, 0.42, 0.50]))
    )
    outline.append(Ellipsoid(Tissue.SKULL, head, head_frame, head_radii))
    core = len(outline)
    soft_limbs, bones = _limbs(size.fl_mm, width, trunk, posture)
    outline += soft_limbs

    inner = (
        _head(head, head_frame, head_radii)
        + _chest(width, trunk)
        + _abdomen(width, trunk)
        + _spine(width, trunk)
    )
    return Fetus(outline + inner + bones, core, len(outline), head, trunk.point(-0.5))


def _head(centre: Array, frame: Array, radii: Array) -> list[Ellipsoid]:
    bone = max(1.6, 0.035 * radii[0])
    inside = radii - bone

    def part(
        tissue: Tissue, at: tuple[float, float, float], size: tuple[float, float, float]
    ) -> Ellipsoid:
        return Ellipsoid(
            tissue, centre + frame @ (inside * np.array(at)), frame, inside * np.array(size)
        )

    return [
        part(Tissue.BRAIN, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        part(Tissue.FALX, (0.0, 0.0, 0.12), (max(0.8 / inside[0], 0.032), 0.93, 0.84)),
        part(Tissue.BRAIN, (0.0, 0.1, -0.05), (0.30, 0.24, 0.24)),  # thalami
        part(Tissue.VENTRICLE, (0.0, 0.46, 0.05), (0.10, 0.15, 0.16)),  # cavum septi pellucidi
        *(
            part(Tissue.VENTRICLE, (side * 0.36, -0.28, 0.18), (0.14, 0.40, 0.22))
            for side in (-1, 1)
        ),
        *(part(Tissue.CHOROID, (side * 0.36, -0.34, 0.18), (0.10, 0.26, 0.15)) for side in (-1, 1)),
        *(
            part(Tissue.CHOROID, (side * 0.26, -0.55, -0.45), (0.26, 0.20, 0.20))
            for side in (-1, 1)
        ),  # cerebellum
        *(
            part(Tissue.VENTRICLE, (side * 0.36, 0.84, -0.62), (0.17, 0.12, 0.16))
            for side in (-1, 1)
        ),  # orbits
    ]


def _chest(width: float, trunk: _Trunk) -> list[Ellipsoid]:
    # Ribs are the rims of thin discs: the lungs, painted next, cover all but the rim.
    ribs = [
        Ellipsoid(
            Tissue.BONE,
            trunk.point(along),
            trunk.frame(along, -0.25),
            np.array([0.44, 0.40, 0.0]) * rim * width
            + np.array([0.0, 0.0, max(0.9, 0.018 * width)]),
        )
        for along, rim in zip(
            np.linspace(0.06, 0.40, RIBS), (0.96, 1.0, 1.0, 0.98, 0.93, 0.85, 0.72), strict=True
        )
    ]
    lungs = Ellipsoid(
        Tissue.LUNG, trunk.point(0.24), trunk.frame(0.24), np.array([0.41, 0.37, 0.50]) * width
    )
    at, frame = trunk.point(0.18, 0.09 * width, 0.14 * width), trunk.frame(0.18) @ _turn(0.7)
    heart = [Ellipsoid(Tissue.HEART, at, frame, np.array([0.19, 0.24, 0.19]) * width)]
    heart += [
        Ellipsoid(
            Tissue.BLOOD,
            at + frame @ (np.array([x, y, 0.0]) * width),
            frame,
            np.array([0.065, 0.09 if y > 0 else 0.07, 0.12]) * width,
        )
        for x in (-0.085, 0.085)
        for y in (-0.10, 0.09)
    ]
    aorta = segment(
        Tissue.BLOOD,
        trunk.point(0.34, 0.05 * width, -0.22 * width),
        trunk.point(-0.3, 0.03 * width, -0.22 * width),
        0.035 * width,
        overshoot=1.1,
    )
    return [*ribs, lungs, *heart, aorta]


def _abdomen(width: float, trunk: _Trunk) -> list[Ellipsoid]:
    def part(
        tissue: Tissue, along: float, left: float, front: float, radii: tuple[float, float, float]
    ) -> Ellipsoid:
        centre = trunk.point(along, left * width, front * width)
        return Ellipsoid(tissue, centre, trunk.frame(along), np.array(radii) * width)

    return [
        part(Tissue.LIVER, 0.0, -0.06, 0.08, (0.36, 0.34, 0.20)),
        part(Tissue.STOMACH, 0.0, 0.24, -0.04, (0.11, 0.15, 0.10)),
        part(Tissue.BLOOD, -0.02, 0.0, 0.18, (0.035, 0.18, 0.05)),  # umbilical vein
        *(part(Tissue.KIDNEY, -0.14, side * 0.19, -0.24, (0.11, 0.11, 0.20)) for side in (-1, 1)),
        part(Tissue.STOMACH, -0.40, 0.0, 0.12, (0.09, 0.09, 0.10)),  # bladder
    ]


def _spine(width: float, trunk: _Trunk) -> list[Ellipsoid]:
    pitch = 1.06 * trunk.length / VERTEBRAE
    radii = np.array([0.085 * width, 0.065 * width, 0.36 * pitch])
    return [
        Ellipsoid(
            Tissue.VERTEBRA, trunk.point(along, 0.0, -depth * width), trunk.frame(along), radii
        )
        for along in np.linspace(-0.46, 0.60, VERTEBRAE)
        for depth in [float(np.interp(along, (-0.46, -0.3, 0.3, 0.6), (0.22, 0.34, 0.33, 0.17)))]
    ]


def _limbs(
    femur_mm: float, width: float, trunk: _Trunk, posture: Posture
) -> tuple[list[Ellipsoid], list[Ellipsoid]]:
    """Soft parts and bones of legs and arms, folded in front of the body."""
    soft, bones = [], []

    def limb(start: Array, end: Array, thickness: float, bone: float) -> None:
        soft.append(segment(Tissue.SOFT, start, end, thickness * width, overshoot=1.25))
        bones.append(segment(Tissue.BONE, start, end, max(1.0, bone * width), overshoot=1.0))

    for side, hip_angle, knee_angle, arm_angle in zip(
        (-1, 1), posture.hips, posture.knees, posture.arms, strict=True
    ):
        hip = trunk.point(-0.36, side * 0.24 * width, 0.12 * width)
        thigh = trunk.frame(-0.36) @ np.array(
            [side * 0.25, math.sin(hip_angle), -math.cos(hip_angle)]
        )
        knee = hip + femur_mm * thigh / np.linalg.norm(thigh)
        bent = hip_angle - knee_angle
        shin = trunk.frame(-0.36) @ np.array([-side * 0.45, math.sin(bent), -math.cos(bent)])
        ankle = knee + 0.88 * femur_mm * shin / np.linalg.norm(shin)
        limb(hip, knee, 0.20, 0.034)
        limb(knee, ankle, 0.14, 0.030)
        toes = ankle + trunk.frame(-0.36) @ np.array([0.0, 0.30, -0.12]) * width
        soft.append(segment(Tissue.SOFT, ankle, toes, 0.09 * width, overshoot=1.2))

        shoulder = trunk.point(0.38, side * 0.42 * width, 0.05 * width)
        upper = trunk.frame(0.38) @ np.array([side * 0.15, 0.75, -0.75])
        elbow = shoulder + 0.92 * femur_mm * upper / np.linalg.norm(upper)
        fore = trunk.frame(0.38) @ np.array([-side * 0.6, 0.35, math.sin(arm_angle)])
        wrist = elbow + 0.8 * femur_mm * fore / np.linalg.norm(fore)
        limb(shoulder, elbow, 0.135, 0.028)
        limb(elbow, wrist, 0.11, 0.024)
        soft.append(ball(Tissue.SOFT, wrist, np.array([0.12, 0.12, 0.12]) * width))
    return soft, bones


def _turn(angle: float) -> Array:
    """Rotation (3, 3) about the third axis."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
