"""A phantom cohort on disk, with files and table as a clinic would hand them over.

Several processes render the clips.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path

from tqdm import tqdm

from bsou_dist.common.errors import InputError
from bsou_dist.common.worker_pool import Item, Lost, Result, ordered_map
from bsou_dist.phantom import Exam, PhantomClip, PhantomConfig, exam_clips, phantom_patients
from bsou_dist.phantom.acouslic.stacks import phantom_stacks
from bsou_dist.phantom.acouslic.write import write_stack, write_tables
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


def write_phantom_cohort(
    config: PhantomConfig, out: Path, *, file_format: FileFormat, workers: int
) -> Path:
    """Render every clip and write it with its row of the table, all or nothing.

    Returns:
        The path of the table.

    Raises:
        InputError: `out` is there already.
    """
    with _new_folder(out) as folder:
        exams = [exam for patient in phantom_patients(config) for exam in patient.exams]
        render = partial(_render_exam, config=config)
        clips_by_exam = _mapped(render, exams, workers, lambda exam: len(exam.clips))
        clips = chain.from_iterable(clips_by_exam)
        table = write_phantom(clips, folder, file_format=file_format)
    return out / table.name


def write_phantom_layout(
    config: PhantomConfig, out: Path, *, layout: FamliLayout, workers: int
) -> Path:
    """Write the cohort as FAMLI's tables and files under `out`, all or nothing.

    Returns:
        The path of the table of answers that a right reader gives back, in `out`/truth.

    Raises:
        InputError: `out` is there already, or the layout cannot hold what `config` asks for.
    """
    with _new_folder(out) as folder:
        visits = list(layout_visits(config, layout))
        all_recordings = list(recordings(visits, config))
        write = partial(write_recording, config=config, out=folder)
        files = list(_mapped(write, all_recordings, workers, lambda recording: 1))
        with_files = list(zip(all_recordings, files, strict=True))
        excluded = write_instances(layout, with_files, config.mm_per_px, folder)
        write_forms(layout, visits, folder)
        write_reports(layout, visits, folder)
        table = write_answers(all_recordings, excluded, config.mm_per_px, folder)
        table_in_folder = table.relative_to(folder)
    return out / table_in_folder


def write_phantom_stacks(config: PhantomConfig, out: Path, *, workers: int) -> Path:
    """Write the cohort as ACOUSLIC-AI's folder under `out`, all or nothing.

    Returns:
        The path of the table of answers that a right reader gives back, in `out`/truth.

    Raises:
        InputError: `out` is there already, or the layout cannot hold what `config` asks for.
    """
    with _new_folder(out) as folder:
        stacks = list(phantom_stacks(config))
        write = partial(write_stack, config=config, out=folder)
        found = _mapped(write, stacks, workers, lambda stack: len(stack.sweeps))
        table = write_tables(zip(stacks, found, strict=True), folder)
        table_in_folder = table.relative_to(folder)
    return out / table_in_folder


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """Make a folder under a temporary name, which becomes `out` when the block ends well."""
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
    """Apply a function in several processes, under a progress bar that counts clips."""
    total = sum(map(clips_of, items))
    results = ordered_map(function, items, workers)
    with tqdm(total=total, desc="phantom", unit="clip", disable=None) as bar:
        for item, result in zip(items, results, strict=True):
            assert not isinstance(result, Lost), "rendering reads nothing that could kill it"
            yield result
            bar.update(clips_of(item))


def _render_exam(exam: Exam, config: PhantomConfig) -> list[PhantomClip]:
    return list(exam_clips(exam, config))
