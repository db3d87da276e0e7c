"""Stacks of a patient: which sweeps lie in them, how they are filled, and what they are called."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bsou_dist.common.errors import InputError
from bsou_dist.common.frame_range import FrameRange
from bsou_dist.common.sweeps import SWEEPS
from bsou_dist.phantom import PhantomConfig, phantom_patients, render_sweep, sweep_poses
from bsou_dist.phantom.acouslic.circumference import abdominal_circumference_mm
from bsou_dist.phantom.patients import Exam

FRAMES_PER_SWEEP = 140
STACK_FRAMES = FRAMES_PER_SWEEP * len(SWEEPS)
TRANSVERSE = ("M", "L", "R")

_HEIGHT_OVER_WIDTH = 562 / 744  # of the corpus's pictures
_TWICE_OF = 4  # of so many patients one is scanned twice, if no visit gives a second stack
_AGAIN = 1  # the repeat of the sweeps that such a second stack holds


@dataclass(frozen=True)
class Stack:
    """One file: the sweeps of one exam in a row.

    Attributes:
        exam: what was scanned.
        patient_id: as the corpus writes it, three digits.
        number: its place among all stacks, from 0 on.
        repeat: which recording of the exam's sweeps it holds.
        seed: of the cohort, which its name is made of.
    """

    exam: Exam
    patient_id: str
    number: int
    repeat: int
    seed: int

    @property
    def name(self) -> str:
        """Name without ending: a UUID, made of the cohort's seed and the exam."""
        key = f"{self.seed}/{self.exam.key}/{self.repeat}".encode()
        return str(uuid.UUID(bytes=hashlib.sha256(key).digest()[:16], version=4))

    @property
    def is_filled_in_front(self) -> bool:
        """Whether short sweeps are filled in front; in every second stack, else behind."""
        return self.number % 2 == 1

    @property
    def is_compressed(self) -> bool:
        """Whether the file is deflated, as every third is."""
        return self.number % 3 == 1

    @property
    def sweeps(self) -> tuple[str, ...]:
        """Sweeps that were recorded; the others are black from end to end."""
        return tuple({sweep: None for sweep, _ in self.exam.clips})


def frame_range(place: int) -> FrameRange:
    """Frames of the sweep at a place of a stack, 0 to 5."""
    start = place * FRAMES_PER_SWEEP
    return FrameRange(start, start + FRAMES_PER_SWEEP, STACK_FRAMES)


def phantom_stacks(config: PhantomConfig) -> Iterator[Stack]:
    """All stacks of a cohort: one per exam, and a second one of every fourth patient's only exam.

    Raises:
        InputError: a sweep would not fit.
    """
    if config.frames > FRAMES_PER_SWEEP:
        raise InputError(
            f"frames is {config.frames}, and a sweep of this layout has {FRAMES_PER_SWEEP} at most"
        )
    if config.clips_per_sweep > 1:
        raise InputError(
            f"clips_per_sweep is {config.clips_per_sweep}, and a stack of this layout has each "
            "sweep once"
        )
    number = 0
    for index, patient in enumerate(phantom_patients(config)):
        recordings = [(exam, 0) for exam in patient.exams]
        if len(recordings) == 1 and index % _TWICE_OF == 1:
            recordings.append((patient.exams[0], _AGAIN))
        for exam, repeat in recordings:
            yield Stack(exam, f"{index:03d}", number, repeat, config.seed)
            number += 1


def stack_frames(stack: Stack, config: PhantomConfig) -> NDArray[np.uint8]:
    """Pictures of a stack, (840, H, W), as high over their width as the corpus's."""
    height = round(config.size_px * _HEIGHT_OVER_WIDTH)
    frames = np.zeros((STACK_FRAMES, height, config.size_px), np.uint8)
    for place, sweep in enumerate(SWEEPS):
        if sweep not in stack.sweeps:
            continue
        pictures = render_sweep(stack.exam, sweep, config, stack.repeat)[:, :height]
        fill = FRAMES_PER_SWEEP - len(pictures) if stack.is_filled_in_front else 0
        start = frame_range(place).start + fill
        frames[start : start + len(pictures)] = pictures
    return frames


def circumferences_mm(stack: Stack, config: PhantomConfig) -> list[float | None]:
    """Circumference measured in each of the six sweeps; None where none is shown or recorded."""
    return [
        abdominal_circumference_mm(stack.exam, sweep_poses(stack.exam, sweep, config, stack.repeat))
        if sweep in stack.sweeps
        else None
        for sweep in SWEEPS
    ]
