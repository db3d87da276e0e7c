"""The circumference of the fetal abdomen, as someone who marks its best plane would measure it."""

from __future__ import annotations

import math

import numpy as np

from bsou_dist.phantom.ellipsoids import Array, Ellipsoid
from bsou_dist.phantom.fetus import BELLY
from bsou_dist.phantom.imaging import PROBES
from bsou_dist.phantom.patients import Exam
from bsou_dist.phantom.sweeps import Poses

MAX_OBLIQUE_DEG = 30.0
"""A picture plane that is further from square to the trunk shows no abdomen to measure."""
MAX_OFF_CENTRE = 0.25
"""Share of the abdomen's half length that the plane may pass beside its middle."""


def abdominal_circumference_mm(exam: Exam, poses: Poses) -> float | None:
    """Circumference (mm) of the abdomen in the frame that shows it best.

    A frame shows an abdomen where its plane is at most `MAX_OBLIQUE_DEG` from square to the trunk,
    passes no more than `MAX_OFF_CENTRE` beside its middle, and has that middle within the fan. The
    best one is the most square. Of several fetuses whichever is shown best counts.

    Returns:
        None where no frame shows one: the label is blank.
    """
    best: tuple[float, float] | None = None
    for fetus in exam.anatomy.fetuses:
        belly = fetus.parts[BELLY]
        squareness = np.abs(poses.normal @ belly.axes[:, 2])
        beside_mm = np.einsum("fi,fi->f", poses.normal, poses.face - belly.centre)
        shown = squareness >= math.cos(math.radians(MAX_OBLIQUE_DEG))
        shown &= np.abs(beside_mm) <= MAX_OFF_CENTRE * belly.radii[2]
        shown &= _within_fan(exam, poses, belly.centre)
        if not shown.any():
            continue
        frame = int(np.argmax(np.where(shown, squareness, -1.0)))
        if best is None or squareness[frame] > best[0]:
            plane_mm = float(beside_mm[frame])
            girth_mm = section_girth_mm(belly, poses.normal[frame], plane_mm)
            best = (float(squareness[frame]), girth_mm)
    return None if best is None else round(best[1], 1)


def section_girth_mm(part: Ellipsoid, normal: Array, beside_mm: float) -> float:
    """Girth (mm) of the ellipse in which a plane cuts an ellipsoid.

    Args:
        part: the ellipsoid.
        normal: unit normal (3,) of the plane.
        beside_mm: distance of the plane from the ellipsoid's middle, along the normal; less than
            where it would miss.
    """
    # In the plane through the middle the ellipse is x Q x = 1; a parallel plane's is smaller by
    # one factor, which the ellipsoid's support along the normal gives.
    basis = np.linalg.svd(normal[None])[2][1:]
    across = part.to_unit @ basis.T
    half_axes = 1.0 / np.sqrt(np.linalg.eigvalsh(across.T @ across))
    support_mm = float(np.linalg.norm(part.radii * (part.axes.T @ normal)))
    shrink = math.sqrt(max(0.0, 1.0 - (beside_mm / support_mm) ** 2))
    a, b = (float(half_axis) * shrink for half_axis in half_axes)
    # Ramanujan's first formula, by which the corpus's own labels were computed
    return math.pi * (3.0 * (a + b) - math.sqrt((3.0 * a + b) * (a + 3.0 * b)))


def _within_fan(exam: Exam, poses: Poses, point: Array) -> np.ndarray:
    """Whether each frame's fan holds a point, (F,)."""
    probe = PROBES[exam.probe]
    apex = poses.face - probe.radius_mm * poses.inward
    offset = point - apex
    down_mm = np.einsum("fi,fi->f", offset, poses.inward)
    across_mm = np.einsum("fi,fi->f", offset, poses.lateral)
    angle = np.arctan2(across_mm, down_mm)
    depth_mm = np.hypot(across_mm, down_mm) - probe.radius_mm
    return (np.abs(angle) < probe.half_angle_rad) & (depth_mm < exam.settings.depth_mm)
