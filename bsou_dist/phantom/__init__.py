"""A parametric 3D anatomy imaged along the six blind-sweep paths, with labels read off the
geometry.

Phantom results test software and controlled failure modes; they support no clinical finding.
"""

from bsou_dist.phantom.clips import (
    PHANTOM_NOTE,
    PhantomClip,
    clip_row,
    exam_clips,
    phantom_clip,
    phantom_clips,
    render_sweep,
)
from bsou_dist.phantom.config import PhantomConfig
from bsou_dist.phantom.patients import Exam, Labels, Patient, phantom_patient, phantom_patients

__all__ = [
    "PHANTOM_NOTE",
    "Exam",
    "Labels",
    "Patient",
    "PhantomClip",
    "PhantomConfig",
    "clip_row",
    "exam_clips",
    "phantom_clip",
    "phantom_clips",
    "phantom_patient",
    "phantom_patients",
    "render_sweep",
]
