"""The clips of a phantom cohort: pictures and the table row that belongs to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsou_dist.common.sweeps import SWEEPS
from bsou_dist.phantom.config import PhantomConfig
from bsou_dist.phantom.imaging import PROBES, render
from bsou_dist.phantom.patients import CLIP, Exam, phantom_patients, stream
from bsou_dist.phantom.sweeps import HANDS, Course, Hand, probe_poses, wander

PHANTOM_NOTE = (
    "Phantom results test software and controlled failure modes; they support no clinical finding"
)


@dataclass(frozen=True)
class PhantomClip:
    """One clip: ``row`` holds the cohort table's columns except ``path``; ``frames`` (F, H, W)
    uint8 grey.
    """

    row: dict[str, Any]
    frames: NDArray[np.uint8]
    mm_per_px: float
    frame_rate_hz: float
    device: str


def phantom_clips(config: PhantomConfig) -> Iterator[PhantomClip]:
    """Every clip of the cohort, patient by patient, rendered as it is asked for."""
    return (
        clip
        for patient in phantom_patients(config)
        for exam in patient.exams
        for clip in exam_clips(exam, config)
    )


def exam_clips(exam: Exam, config: PhantomConfig) -> Iterator[PhantomClip]:
    """The clips of one exam, in recorded order."""
    return (phantom_clip(exam, sweep, config, repeat) for sweep, repeat in exam.clips)


def phantom_clip(exam: Exam, sweep: str, config: PhantomConfig, repeat: int = 0) -> PhantomClip:
    """One clip with its table row."""
    seconds = float(_clip_stream(exam, sweep, config, repeat, 1).uniform(*config.duration_s))
    return PhantomClip(
        row=clip_row(exam, sweep, config),
        frames=render_sweep(exam, sweep, config, repeat),
        mm_per_px=config.mm_per_px,
        frame_rate_hz=round(config.frames / seconds, 3),
        device=exam.device,
    )


def clip_row(exam: Exam, sweep: str, config: PhantomConfig) -> dict[str, Any]:
    """Columns of the cohort table, except ``path``; None where a label is missing."""
    labels = exam.labels
    return {
        "patient_id": exam.patient_id,
        "study_id": exam.study_id,
        "exam_id": exam.exam_id,
        "tag_raw": sweep,
        "sweep": sweep,
        "clip_class": "blind",
        "ga_days": labels.ga_days,
        "ga_source": None if labels.ga_days is None else "phantom",
        "presentation": labels.presentation,
        "placenta": labels.placenta,
        "dvp_cm": labels.dvp_cm,
        "fetuses": labels.fetuses,
        "bmi": exam.bmi,
        "site": "phantom",
        "device": exam.device,
        "operator": exam.operator,
        "visit_day": exam.visit_day,
        "mm_per_px": config.mm_per_px,
    }


def render_sweep(
    exam: Exam, sweep: str, config: PhantomConfig, repeat: int = 0
) -> NDArray[np.uint8]:
    """Frames (F, H, W) uint8 of one sweep: a pure function of its arguments, whatever was rendered
    before.
    """
    rng = _clip_stream(exam, sweep, config, repeat, 0)
    usual, probe = HANDS[exam.operator], PROBES[exam.probe]
    j = config.hand_jitter
    hand = Hand(
        j * usual.drift_mm, j * usual.tilt_rad, j * usual.press_mm, min(j * usual.speed, 0.6)
    )
    flip, stop, lift = rng.uniform(size=3)
    done, lifted_at, lifted_for = (
        float(rng.uniform(*span)) for span in ((0.4, 0.8), (0.05, 0.7), (0.08, 0.25))
    )
    course = Course(
        reversed=flip < config.reversed_fraction,
        done=done if stop < config.aborted_fraction else 1.0,
        lifted=(lifted_at, lifted_at + lifted_for)
        if lift < config.lost_contact_fraction
        else (0.0, 0.0),
    )
    poses = probe_poses(exam.anatomy, sweep, hand, probe.edge_gap_mm, course, rng, config.frames)
    motion = None
    if config.fetal_motion_mm > 0:
        drift = [[wander(rng, config.frames) for _ in range(3)] for _ in exam.anatomy.fetuses]
        motion = config.fetal_motion_mm * np.moveaxis(np.array(drift), 1, 2)
    return render(
        exam.anatomy.scene,
        poses,
        probe,
        exam.settings,
        config.size_px,
        config.field_mm,
        rng,
        motion,
    )


def _clip_stream(
    exam: Exam, sweep: str, config: PhantomConfig, repeat: int, use: int
) -> np.random.Generator:
    return stream(config, CLIP, *exam.key, SWEEPS.index(sweep), repeat, use)
