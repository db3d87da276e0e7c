"""A probe held still over one part of the fetus, as for a measurement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bsou_dist.common.sweeps import SWEEPS
from bsou_dist.phantom.anatomy import Anatomy
from bsou_dist.phantom.config import PhantomConfig
from bsou_dist.phantom.ellipsoids import Array, Ellipsoid
from bsou_dist.phantom.fetus import BELLY
from bsou_dist.phantom.imaging import PROBES, render
from bsou_dist.phantom.patients import CLIP, Exam, stream
from bsou_dist.phantom.sweeps import Poses, skin_at, touching_mm, unit, wander

STILL_VIEWS = ("head", "abdomen")
"""Parts of the fetus that a probe can be held over."""

_TREMOR_MM = 0.7


@dataclass(frozen=True)
class StillView:
    """A clip of a probe that is held still."""

    frames: NDArray[np.uint8]
    """(F, H, W), grey."""
    calipers: tuple[tuple[float, float], tuple[float, float]]
    """Both ends (x, y; pixels) of the widest left-to-right line of what the probe is held over."""


def render_still_view(exam: Exam, target: str, config: PhantomConfig) -> StillView:
    """The first fetus's head (plane of the biparietal diameter) or abdomen, cut across.

    `target` is one of `STILL_VIEWS`.
    """
    after_sweeps = len(SWEEPS) + STILL_VIEWS.index(target)
    rng = stream(config, CLIP, *exam.key, after_sweeps)
    fetus = exam.anatomy.fetuses[0]
    probe = PROBES[exam.probe]
    skull, belly = fetus.parts[fetus.core - 1], fetus.parts[BELLY]
    part = skull if target == "head" else belly
    poses = _poses_over(exam.anatomy, part, probe.edge_gap_mm, rng, config.frames)
    frames = render(
        exam.anatomy.scene, poses, probe, exam.settings, config.size_px, config.field_mm, rng
    )

    apex = poses.face[0] - probe.radius_mm * poses.inward[0]
    upper_edge_mm = probe.radius_mm - probe.edge_gap_mm - 2.0  # of the picture, below the apex

    def caliper(side: float) -> tuple[float, float]:
        offset = part.centre + side * part.radii[0] * part.axes[:, 0] - apex
        x_mm = offset @ poses.lateral[0] + config.field_mm / 2.0
        y_mm = offset @ poses.inward[0] - upper_edge_mm
        return float(x_mm) / config.mm_per_px, float(y_mm) / config.mm_per_px

    return StillView(frames, (caliper(-1.0), caliper(1.0)))


def _poses_over(
    anatomy: Anatomy, part: Ellipsoid, edge_gap_mm: float, rng: np.random.Generator, frames: int
) -> Poses:
    """Poses over a part, aimed at its middle.

    The picture plane is as square to its long axis as the aim allows.
    """
    across_mm = _TREMOR_MM * wander(rng, frames)
    up_mm = _TREMOR_MM * wander(rng, frames)
    skin, outward = skin_at(anatomy, part.centre[0] + across_mm, part.centre[2] + up_mm)
    inward = unit(part.centre - skin)
    long_axis: Array = part.axes[:, 2]
    lateral = unit(np.cross(long_axis, inward))
    face = skin - outward * touching_mm(inward, outward, edge_gap_mm)[:, None]
    return Poses(face, inward, lateral, np.cross(inward, lateral))
