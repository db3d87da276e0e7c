"""Poses of the probe, frame by frame: the six paths, and the hands that follow them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bsou_dist.phantom.anatomy import Anatomy
from bsou_dist.phantom.ellipsoids import Array

LATERAL_SHARE = {"M": 0.0, "L": 0.65, "R": -0.65}
"""Sideways place of the vertical sweeps, in half-widths of the uterus to the mother's left."""
HEIGHT_SHARE = {"C1": 0.16, "C2": 0.50, "C3": 0.84}
"""Height of the horizontal sweeps, from pubic bone to fundus."""
UPRIGHT = 0.5
"""How the probe is held on sloping skin: 0 square to the skin, 1 square to the bed."""
EDGE_MM = 26.0
"""Distance from the middle of the probe's face to its edge."""


@dataclass(frozen=True)
class Hand:
    """Unsteadiness of an operator: standard deviations, but for ``speed``."""

    drift_mm: float
    """Over the skin."""
    tilt_rad: float
    press_mm: float
    """Into the skin."""
    speed: float
    """Unevenness, as a share."""


HANDS = {
    "expert": Hand(drift_mm=2.5, tilt_rad=0.035, press_mm=0.6, speed=0.08),
    "novice": Hand(drift_mm=7.0, tilt_rad=0.11, press_mm=1.4, speed=0.25),
}

_PUBIS_MM = 12.0
"""Height over the pubic bone at which the vertical sweeps begin."""
_PAST_FUNDUS_MM = 10.0
_LIFTED_MM = 2.0
"""Height of a lifted probe over the skin."""


@dataclass(frozen=True)
class Poses:
    """Probe poses of F frames; directions are unit vectors."""

    face: Array
    """Middle of the probe's face (F, 3), mm."""
    inward: Array
    """Direction (F, 3) into the body."""
    lateral: Array
    """Direction (F, 3) along the probe's face."""
    normal: Array
    """Direction (F, 3) out of the picture plane."""


@dataclass(frozen=True)
class Course:
    """Course of one sweep, with all that may go wrong on the way."""

    reversed: bool = False
    done: float = 1.0
    """Share of the path that is scanned."""
    lifted: tuple[float, float] = (0.0, 0.0)
    """When the probe is off the skin: start and end, as shares of the time."""


def wander(rng: np.random.Generator, frames: int, waves: int = 4) -> Array:
    """A smooth random course (frames,) of standard deviation one: a few slow waves.

    Their shape is the same at any number of frames.
    """
    time = np.linspace(0.0, 1.0, frames)[:, None]
    k = np.arange(1, waves + 1)
    weight = rng.normal(size=waves) / k**0.7
    phase = rng.uniform(0.0, 2.0 * np.pi, waves)
    scale = np.sqrt(2.0 / (1.0 / k**1.4).sum())
    return scale * (weight * np.sin(np.pi * k * time + phase)).sum(1)


def probe_poses(
    anatomy: Anatomy,
    sweep: str,
    hand: Hand,
    edge_gap_mm: float,
    course: Course,
    rng: np.random.Generator,
    frames: int,
) -> Poses:
    """Poses along one sweep.

    The probe stands between square to the skin and square to the bed, and is pressed in until its
    whole face touches (``edge_gap_mm`` is how far the curved face's edges stand back). M, L and R
    run from pubis to fundus with the picture plane across the body, its right side the mother's
    left; C1 to C3 run from the mother's left to right with the plane along the body, her head to
    the left.
    """
    sideways = wander(rng, frames)
    upwards = wander(rng, frames)
    tilt_in = wander(rng, frames)
    tilt_along = wander(rng, frames)
    twist = wander(rng, frames)
    press = wander(rng, frames)
    pace = _pace(hand, course, rng, frames)

    half, centre = anatomy.cavity.extent, anatomy.cavity.centre
    low, top = _PUBIS_MM, anatomy.fundus_mm
    vertical = sweep in LATERAL_SHARE
    if vertical:
        x = centre[0] + LATERAL_SHARE[sweep] * half[0] + hand.drift_mm * sideways
        z = low + (top + _PAST_FUNDUS_MM - low) * pace + 0.5 * hand.drift_mm * upwards
    else:
        x = centre[0] + 0.95 * half[0] * (1.0 - 2.0 * pace) + 0.5 * hand.drift_mm * sideways
        z = low + (top - low) * HEIGHT_SHARE[sweep] + hand.drift_mm * upwards

    skin, outward = skin_at(anatomy, x, z)
    inward = unit([0.0, UPRIGHT, 0.0] - (1.0 - UPRIGHT) * outward)
    along = np.broadcast_to([1.0, 0.0, 0.0] if vertical else [0.0, 0.0, -1.0], inward.shape)
    lateral = unit(along - (along * inward).sum(1, keepdims=True) * inward)
    normal = np.cross(inward, lateral)
    inward, lateral = _rotated(inward, lateral, hand.tilt_rad * tilt_in)
    inward, normal = _rotated(inward, normal, hand.tilt_rad * tilt_along)
    lateral, normal = _rotated(lateral, normal, hand.tilt_rad * twist)

    depth_mm = touching_mm(inward, outward, edge_gap_mm) + hand.press_mm * press
    time = np.linspace(0.0, 1.0, frames)
    lift, touch = course.lifted
    off = (time >= lift) & (time < touch)
    face = skin - outward * np.where(off, -_LIFTED_MM, depth_mm)[:, None]
    return Poses(face, inward, lateral, normal)


def _pace(hand: Hand, course: Course, rng: np.random.Generator, frames: int) -> Array:
    """Share (F,) of the path done by each frame: unevenly, and not from end to end exactly."""
    start, end = rng.normal(0.0, 0.02 + 0.2 * hand.speed, 2)
    pace = np.linspace(0.0, 1.0, frames)
    pace = pace + hand.speed * wander(rng, frames) * np.sin(np.pi * pace) ** 2 * 0.5
    pace = 0.5 * start + (course.done * (1.0 + 0.5 * end) - 0.5 * start) * pace
    return 1.0 - pace if course.reversed else pace


def skin_at(anatomy: Anatomy, x: Array, z: Array) -> tuple[Array, Array]:
    """Points (F, 3) of the belly at (x, z), mm, and the skin's outward unit normals (F, 3)."""
    body = anatomy.body
    side = np.clip((x - body.centre[0]) / body.radii[0], -0.8, 0.8)
    up = np.clip((z - body.centre[2]) / body.radii[2], -0.8, 0.8)
    front = -np.sqrt(np.maximum(1.0 - side**2 - up**2, 0.05))
    on_ball = np.stack([side, front, up], axis=1)
    return body.centre + on_ball * body.radii, unit(on_ball / body.radii)


def touching_mm(inward: Array, outward: Array, edge_gap_mm: float) -> Array:
    """Depth (F,) of the middle of a probe's face below the skin, so that its whole face touches."""
    sine = np.linalg.norm(np.cross(inward, outward), axis=1)  # of the angle from square to the skin
    return edge_gap_mm + 3.0 + 0.6 * EDGE_MM * sine


def unit(vectors: Array) -> Array:
    """Unit vectors (..., 3) along ``vectors``."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _rotated(first: Array, second: Array, angle: Array) -> tuple[Array, Array]:
    """Two perpendicular directions (F, 3), turned in their plane by ``angle`` (F,)."""
    c = np.cos(angle)[:, None]
    s = np.sin(angle)[:, None]
    return c * first + s * second, c * second - s * first
