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
from bsou_dist.phantom.sweeps import HANDS, Course, Hand, Poses, probe_poses, wander

PHANTOM_NOTE = (
    "Phantom results test software and controlled failure modes; they support no clinical finding"
)

_PICTURE, _DURATION = range(2)  # random streams of a clip


@dataclass(frozen=True)
class PhantomClip:
    """A clip with its row of the cohort table."""

    row: dict[str, Any]
    """The table's columns, except ``path``."""
    frames: NDArray[np.uint8]
    """(F, H, W), grey."""
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
    rng = _clip_stream(exam, sweep, config, repeat, _DURATION)
    seconds = float(rng.uniform(*config.duration_s))
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
    """Frames (F, H, W) uint8 of one sweep: a pure function of its arguments."""
    rng = _clip_stream(exam, sweep, config, repeat, _PICTURE)
    probe = PROBES[exam.probe]
    poses = _poses(exam, sweep, config, rng)
    motion = None
    if config.fetal_motion_mm > 0:
        fetuses = len(exam.anatomy.fetuses)
        drift = [[wander(rng, config.frames) for _ in range(3)] for _ in range(fetuses)]
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


def sweep_poses(exam: Exam, sweep: str, config: PhantomConfig, repeat: int = 0) -> Poses:
    """Where the probe is in each frame of the sweep that `render_sweep` gives."""
    return _poses(exam, sweep, config, _clip_stream(exam, sweep, config, repeat, _PICTURE))


def _poses(exam: Exam, sweep: str, config: PhantomConfig, rng: np.random.Generator) -> Poses:
    hand = _hand(exam.operator, config.hand_jitter)
    course = _course(config, rng)
    edge_gap_mm = PROBES[exam.probe].edge_gap_mm
    return probe_poses(exam.anatomy, sweep, hand, edge_gap_mm, course, rng, config.frames)


def _hand(operator: str, jitter: float) -> Hand:
    usual = HANDS[operator]
    return Hand(
        drift_mm=jitter * usual.drift_mm,
        tilt_rad=jitter * usual.tilt_rad,
        press_mm=jitter * usual.press_mm,
        speed=min(jitter * usual.speed, 0.6),
    )


def _course(config: PhantomConfig, rng: np.random.Generator) -> Course:
    """Draw what goes wrong on the way; the same numbers are drawn whatever does."""
    flip, stop, lift = rng.uniform(size=3)
    stopped_at = float(rng.uniform(0.4, 0.8))
    lifted_at = float(rng.uniform(0.05, 0.7))
    lifted_for = float(rng.uniform(0.08, 0.25))
    is_lifted = lift < config.lost_contact_fraction
    return Course(
        reversed=flip < config.reversed_fraction,
        done=stopped_at if stop < config.aborted_fraction else 1.0,
        lifted=(lifted_at, lifted_at + lifted_for) if is_lifted else (0.0, 0.0),
    )


def _clip_stream(
    exam: Exam, sweep: str, config: PhantomConfig, repeat: int, use: int
) -> np.random.Generator:
    return stream(config, CLIP, *exam.key, SWEEPS.index(sweep), repeat, use)
