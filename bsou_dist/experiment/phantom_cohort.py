"""A phantom cohort on disk: clips rendered by several processes, files and table as a clinic would hand them over."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tqdm import tqdm

from bsou_dist.cohort.phantom import Exam, PhantomClip, PhantomConfig, exam_clips, phantom_patients
from bsou_dist.errors import InputError
from bsou_dist.shards.phantom_files import FileFormat, write_phantom
from bsou_dist.shards.workers import Crashed, ordered_map


def write_phantom_cohort(config: PhantomConfig, out: Path, *, file_format: FileFormat, workers: int) -> Path:
    """Render every clip and write it with its table row; the path of the table. All or nothing.

    Raises:
        InputError: `out` is there already.
    """
    if out.exists():
        raise InputError(f"{out} is there already; name a new folder, or delete it first")
    unfinished = out.with_name(f"{out.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    exams = [exam for patient in phantom_patients(config) for exam in patient.exams]
    table = write_phantom(_rendered(exams, config, workers), unfinished, file_format=file_format)
    unfinished.replace(out)
    return out / table.name


def _rendered(exams: list[Exam], config: PhantomConfig, workers: int) -> Iterator[PhantomClip]:
    with tqdm(total=sum(len(exam.clips) for exam in exams), desc="phantom", unit="clip", disable=None) as bar:
        for clips in ordered_map(partial(_render_exam, config=config), exams, workers):
            assert not isinstance(clips, Crashed), "rendering reads nothing that could kill it"
            for clip in clips:
                yield clip
                bar.update()


def _render_exam(exam: Exam, config: PhantomConfig) -> list[PhantomClip]:
    return list(exam_clips(exam, config))
