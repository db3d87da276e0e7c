"""Stacks, their table, and the cohort that a right reader gives back, as files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from bsou_dist.common.sweeps import SWEEPS
from bsou_dist.phantom import PhantomConfig
from bsou_dist.phantom.acouslic.stacks import (
    TRANSVERSE,
    Stack,
    circumferences_mm,
    frame_range,
    stack_frames,
)
from bsou_dist.phantom.files.meta_image import write_meta_image

FOLDER = "acouslic-ai-train-set"
"""Of the corpus, in the folder that is written."""
CORPUS_MM_PER_PX = 0.28

_TABLE = "circumferences/fetal_abdominal_circumferences_per_sweep.csv"
_ANSWERS = "truth/cohort.csv"


def write_stack(stack: Stack, config: PhantomConfig, out: Path) -> list[float | None]:
    """Render a stack into its file under `out`.

    Returns:
        The circumference in each of its sweeps (mm), None where blank.
    """
    path = out / FOLDER / _path(stack)
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = stack_frames(stack, config)
    write_meta_image(path, frames, config.mm_per_px, compressed=stack.is_compressed)
    return circumferences_mm(stack, config)


def write_tables(stacks: Iterable[tuple[Stack, list[float | None]]], out: Path) -> Path:
    """Write the table of circumferences, and the cohort that a right reader gives back.

    Returns:
        The path of that cohort.
    """
    rows, answers = [], []
    for stack, found in stacks:
        headers = [f"sweep_{number}_ac_mm" for number in range(1, len(SWEEPS) + 1)]
        ids = {"uuid": stack.name, "subject_id": stack.patient_id}
        rows.append({**ids, **dict(zip(headers, found, strict=True))})
        answers += [_answer(stack, place, ac_mm) for place, ac_mm in enumerate(found)]
    for path, content in ((Path(FOLDER) / _TABLE, rows), (Path(_ANSWERS), answers)):
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(content).to_csv(out / path, index=False)
    return out / _ANSWERS


def _path(stack: Stack) -> str:
    return f"images/stacked_fetal_ultrasound/{stack.name}.mha"


def _answer(stack: Stack, place: int, ac_mm: float | None) -> dict[str, object]:
    """The row of one sweep; which of the three of its direction it is no reader can tell."""
    return {
        "patient_id": stack.patient_id,
        "study_id": stack.name,
        "exam_id": stack.name,
        "path": _path(stack),
        "frame_range": str(frame_range(place)),
        "clip_class": "blind",
        "device": "Telemed MicrUs Pro-C60S",
        "operator": "novice",
        "mm_per_px": CORPUS_MM_PER_PX,
        "sweep_direction": "transverse" if SWEEPS[place] in TRANSVERSE else "sagittal",
        "ac_mm": ac_mm,
    }
