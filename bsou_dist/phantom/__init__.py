"""A parametric 3D anatomy imaged along the six blind-sweep paths, with labels by its geometry.

Phantom results test software and controlled failure modes; they support no clinical finding.

| file | question |
|---|---|
| `config` | What is a phantom cohort asked to hold? |
| `patients` | Who is scanned, at which visits, on which device? |
| `growth` | How big is a fetus, and what surrounds it, at its age? |
| `anatomy` | Where do mother, uterus and fetus lie, and which labels follow? |
| `fetus` | What is a fetus made of, and how does it hold itself? |
| `pocket` | How deep is the deepest vertical pocket of fluid? |
| `ellipsoids` | How is a body put together of ellipsoids? |
| `tissues` | Which tissues are there, and how do they look to ultrasound? |
| `sweeps` | Where is the probe, frame by frame? |
| `imaging` | Which picture does a probe get of an anatomy? |
| `clips` | Which clips make the cohort, and which table row belongs to each? |
| `still_view` | What does a probe see that is held still over head or abdomen? |
| `files/` | How is a clip written as a clinic would hand it over? |
| `famli/` | How is a cohort written as FAMLI's tables and files? |
| `acouslic/` | How is a cohort written as ACOUSLIC-AI's stacks of six sweeps? |
"""

from bsou_dist.phantom.clips import (
    PHANTOM_NOTE,
    PhantomClip,
    clip_row,
    exam_clips,
    phantom_clip,
    phantom_clips,
    render_sweep,
    sweep_poses,
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
    "sweep_poses",
]
