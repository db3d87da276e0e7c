"""A phantom cohort on disk: clips rendered by several processes, files and table as a clinic would
hand them over.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from bsou_dist.common.errors import InputError
from bsou_dist.common.worker_pool import Lost, ordered_map
from bsou_dist.phantom import Exam, PhantomClip, PhantomConfig, exam_clips, phantom_patients
from bsou_dist.phantom.famli import (
    FamliLayout,
    layout_visits,
    recordings,
    write_answers,
    write_forms,
    write_instances,
    write_recording,
    write_reports,
)
from bsou_dist.phantom.files.cohort_files import FileFormat, write_phantom

Item = TypeVar("Item")
Result = TypeVar("Result")


def write_phantom_cohort(
    config: PhantomConfig, out: Path, *, file_format: FileFormat, workers: int
) -> Path:
    """Render every clip and write it with its table row; the path of the table. All or nothing.

    Raises:
        InputError: `out` is there already.
    """
    with _new_folder(out) as folder:
        exams = [exam for patient in phantom_patients(config) for exam in patient.exams]
        rendered = _mapped(
            partial(_render_exam, config=config), exams, workers, lambda exam: len(exam.clips)
        )
        table = write_phantom(
            (clip for clips in rendered for clip in clips), folder, file_format=file_format
        )
    return out / table.name


def write_phantom_layout(
    config: PhantomConfig, out: Path, *, layout: FamliLayout, workers: int
) -> Path:
    """Write the cohort as FAMLI's tables and files under `out`, with the answers in `out`/truth:
    the path of the table that a right reader gives back. All or nothing.

    Raises:
        InputError: `out` is there already, or the layout cannot hold what `config` asks for.
    """
    with _new_folder(out) as folder:
        visits = list(layout_visits(config, layout))
        found = list(recordings(visits, config))
        files = list(
            _mapped(
                partial(write_recording, config=config, out=folder), found, workers, lambda _: 1
            )
        )
        excluded = write_instances(
            layout, list(zip(found, files, strict=True)), config.mm_per_px, folder
        )
        write_forms(layout, visits, folder)
        write_reports(layout, visits, folder)
        table = write_answers(found, excluded, config.mm_per_px, folder).relative_to(folder)
    return out / table


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A folder under a temporary name, which becomes `out` when the block ends well."""
    if out.exists():
        raise InputError(f"{out} is there already; name a new folder, or delete it first")
    unfinished = out.with_name(f"{out.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    yield unfinished
    unfinished.replace(out)


def _mapped(
    function: Callable[[Item], Result],
    items: list[Item],
    workers: int,
    clips_of: Callable[[Item], int],
) -> Iterator[Result]:
    """Results in order, under a progress bar that counts clips."""
    with tqdm(total=sum(map(clips_of, items)), desc="phantom", unit="clip", disable=None) as bar:
        for item, result in zip(items, ordered_map(function, items, workers), strict=True):
            assert not isinstance(result, Lost), "rendering reads nothing that could kill it"
            yield result
            bar.update(clips_of(item))


def _render_exam(exam: Exam, config: PhantomConfig) -> list[PhantomClip]:
    return list(exam_clips(exam, config))
