"""Where the probe is, frame by frame: the six paths, and the hands that follow them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bsou_dist.phantom.anatomy import Anatomy
from bsou_dist.phantom.ellipsoids import Array

LATERAL_SHARE = {"M": 0.0, "L": 0.65, "R": -0.65}
"""Sideways place of the vertical sweeps, in half-widths of the uterus (positive: the mother's
left).
"""
HEIGHT_SHARE = {"C1": 0.16, "C2": 0.50, "C3": 0.84}
"""Height of the horizontal sweeps, from pubic bone to fundus."""
UPRIGHT = 0.5
"""How the probe is held on sloping skin: 0 square to the skin, 1 square to the bed."""
EDGE_MM = 26.0
"""Distance from the middle of the probe's face to its edge."""


@dataclass(frozen=True)
class Hand:
    """How unsteady an operator is: drift over the skin (mm), tilt (rad), press (mm), unevenness of
    speed.
    """

    drift_mm: float
    tilt_rad: float
    press_mm: float
    speed: float


HANDS = {"expert": Hand(2.5, 0.035, 0.6, 0.08), "novice": Hand(7.0, 0.11, 1.4, 0.25)}


@dataclass(frozen=True)
class Poses:
    """Probe poses of F frames: ``face`` (F, 3) middle of the probe's face (mm); unit directions (F,
    3) into the body, along the probe's face, and out of the picture plane.
    """

    face: Array
    inward: Array
    lateral: Array
    normal: Array


@dataclass(frozen=True)
class Course:
    """What may go wrong on the way: reversed; the share of the path that is done; the share of time
    in which the probe is off the skin (start, end).
    """

    reversed: bool = False
    done: float = 1.0
    lifted: tuple[float, float] = (0.0, 0.0)


def wander(rng: np.random.Generator, frames: int, waves: int = 4) -> Array:
    """A smooth random course (frames,) of standard deviation one: a few slow waves, the same at any
    frame count.
    """
    t = np.linspace(0.0, 1.0, frames)[:, None]
    k = np.arange(1, waves + 1)
    weight, phase = rng.normal(size=waves) / k**0.7, rng.uniform(0.0, 2.0 * np.pi, waves)
    scale = np.sqrt(2.0 / (1.0 / k**1.4).sum())
    return scale * (weight * np.sin(np.pi * k * t + phase)).sum(1)


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
    a, b, tilt_in, tilt_along, twist, press = (wander(rng, frames) for _ in range(6))
    start, end = rng.normal(0.0, 0.02 + 0.2 * hand.speed, 2)
    pace = np.linspace(0.0, 1.0, frames)
    pace = pace + hand.speed * wander(rng, frames) * np.sin(np.pi * pace) ** 2 * 0.5
    pace = 0.5 * start + (course.done * (1.0 + 0.5 * end) - 0.5 * start) * pace
    if course.reversed:
        pace = 1.0 - pace

    half, centre = anatomy.cavity.extent, anatomy.cavity.centre
    low, top = 12.0, anatomy.fundus_mm
    if sweep in LATERAL_SHARE:
        x = centre[0] + LATERAL_SHARE[sweep] * half[0] + hand.drift_mm * a
        z = low + (top + 10.0 - low) * pace + 0.5 * hand.drift_mm * b
    else:
        x = centre[0] + 0.95 * half[0] * (1.0 - 2.0 * pace) + 0.5 * hand.drift_mm * a
        z = low + (top - low) * HEIGHT_SHARE[sweep] + hand.drift_mm * b

    skin, outward = skin_at(anatomy, x, z)
    inward = unit([0.0, UPRIGHT, 0.0] - (1.0 - UPRIGHT) * outward)

    along = np.broadcast_to(
        [1.0, 0.0, 0.0] if sweep in LATERAL_SHARE else [0.0, 0.0, -1.0], inward.shape
    )
    lateral = unit(along - (along * inward).sum(1, keepdims=True) * inward)
    normal = np.cross(inward, lateral)
    inward, lateral = _rotated(inward, lateral, hand.tilt_rad * tilt_in)
    inward, normal = _rotated(inward, normal, hand.tilt_rad * tilt_along)
    lateral, normal = _rotated(lateral, normal, hand.tilt_rad * twist)

    depth = touching_mm(inward, outward, edge_gap_mm) + hand.press_mm * press
    time = np.linspace(0.0, 1.0, frames)
    off = (time >= course.lifted[0]) & (time < course.lifted[1])
    face = skin - outward * np.where(off, -2.0, depth)[:, None]
    return Poses(face, inward, lateral, normal)


def skin_at(anatomy: Anatomy, x: Array, z: Array) -> tuple[Array, Array]:
    """Points (F, 3) of the belly at (x, z), mm, and the skin's outward unit normals (F, 3)
    there.
    """
    body = anatomy.body
    side = np.clip((x - body.centre[0]) / body.radii[0], -0.8, 0.8)
    up = np.clip((z - body.centre[2]) / body.radii[2], -0.8, 0.8)
    on_ball = np.stack([side, -np.sqrt(np.maximum(1.0 - side**2 - up**2, 0.05)), up], axis=1)
    return body.centre + on_ball * body.radii, unit(on_ball / body.radii)


def touching_mm(inward: Array, outward: Array, edge_gap_mm: float) -> Array:
    """How deep (F,) the middle of a probe's face goes below the skin, so that its whole face
    touches.
    """
    lean = np.linalg.norm(
        np.cross(inward, outward), axis=1
    )  # sine of the angle between probe and skin
    return edge_gap_mm + 3.0 + 0.6 * EDGE_MM * lean


def unit(vectors: Array) -> Array:
    """The directions (..., 3) of vectors."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _rotated(first: Array, second: Array, angle: Array) -> tuple[Array, Array]:
    """Two perpendicular directions (F, 3), turned in their plane by ``angle`` (F,)."""
    c, s = np.cos(angle)[:, None], np.sin(angle)[:, None]
    return c * first + s * second, c * second - s * first
