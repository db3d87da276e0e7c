"""A probe held still over one part of the fetus, as for a measurement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bsou_dist.common.sweeps import SWEEPS
from bsou_dist.phantom.anatomy import Anatomy
from bsou_dist.phantom.config import PhantomConfig
from bsou_dist.phantom.ellipsoids import Array, Ellipsoid
from bsou_dist.phantom.imaging import PROBES, render
from bsou_dist.phantom.patients import CLIP, Exam, stream
from bsou_dist.phantom.sweeps import Poses, skin_at, touching_mm, unit, wander

STILL_VIEWS = ("head", "abdomen")
"""What a probe is held over."""

_TREMOR_MM = 0.7


@dataclass(frozen=True)
class HeldView:
    """``frames`` (F, H, W) uint8; ``calipers``: both ends (x, y; pixels) of the part's widest
    left-to-right line.
    """

    frames: NDArray[np.uint8]
    calipers: tuple[tuple[float, float], tuple[float, float]]


def render_still_view(exam: Exam, target: str, config: PhantomConfig) -> HeldView:
    """The first fetus's head (plane of the biparietal diameter) or abdomen, cut across; `target` is
    one of `STILL_VIEWS`.
    """
    rng = stream(
        config, CLIP, *exam.key, len(SWEEPS) + STILL_VIEWS.index(target)
    )  # after the streams of the sweeps
    fetus, probe = exam.anatomy.fetuses[0], PROBES[exam.probe]
    part = fetus.parts[fetus.core - 1] if target == "head" else fetus.parts[2]
    poses = _held(exam.anatomy, part, probe.edge_gap_mm, rng, config.frames)
    frames = render(
        exam.anatomy.scene, poses, probe, exam.settings, config.size_px, config.field_mm, rng
    )

    apex = poses.face[0] - probe.radius_mm * poses.inward[0]
    rim_mm = (
        probe.radius_mm - probe.edge_gap_mm - 2.0
    )  # depth of the picture's upper edge below the apex
    one, other = (
        (
            float(offset @ poses.lateral[0] + config.field_mm / 2.0) / config.mm_per_px,
            float(offset @ poses.inward[0] - rim_mm) / config.mm_per_px,
        )
        for offset in (
            part.centre + side * part.radii[0] * part.axes[:, 0] - apex for side in (-1.0, 1.0)
        )
    )
    return HeldView(frames, (one, other))


def _held(
    anatomy: Anatomy, part: Ellipsoid, edge_gap_mm: float, rng: np.random.Generator, frames: int
) -> Poses:
    """Over the part, aimed at its middle, the picture plane as square to its long axis as the aim
    allows.
    """
    across, up = _TREMOR_MM * wander(rng, frames), _TREMOR_MM * wander(rng, frames)
    skin, outward = skin_at(anatomy, part.centre[0] + across, part.centre[2] + up)
    inward = unit(part.centre - skin)
    long_axis: Array = part.axes[:, 2]
    lateral = unit(np.cross(long_axis, inward))
    face = skin - outward * touching_mm(inward, outward, edge_gap_mm)[:, None]
    return Poses(face, inward, lateral, np.cross(inward, lateral))
