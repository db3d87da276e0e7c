"""A folder of stacks read into one table of contract columns, a row per sweep."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from bsou_dist.cohort.acouslic.stack_map import STACK_NAME, StackLayout
from bsou_dist.cohort.bad_cells import BadCell, bad_cells, raise_bad_cells
from bsou_dist.cohort.column_map import ColumnMap
from bsou_dist.cohort.columns import COLUMNS
from bsou_dist.cohort.exclusions import ExclusionFlow
from bsou_dist.cohort.raw_cohort import RawCohort
from bsou_dist.cohort.text_table import missing_as_nan, read_text_table
from bsou_dist.common.errors import InputError
from bsou_dist.common.frame_range import FrameRange

LABELS = ("sweep_direction", "ac_mm")
"""Label columns beside the contract's."""

_AC_LIMITS_MM = (20, 600)
"""Generous about what a fetal abdomen measures from 10 weeks to birth; beyond, a unit is wrong."""


def read_stacks(
    path: Path, mapping: ColumnMap, root: Path | None, *, check_files: bool
) -> tuple[Path, RawCohort]:
    """Read a folder of stacks.

    Args:
        path: the folder, or the one above it.
        mapping: a map with `stacks`.
        root: folder that the files are in, likewise, where it is another one.
        check_files: look for the files, and leave out stacks that have none.

    Returns:
        The folder that paths are relative to, and the rows.

    Raises:
        InputError: no such folder, table or column, or no stack is left. Bad cells come back in
            `bad`.
    """
    layout = mapping.stacks
    assert layout is not None, "a map with stacks"
    folder = _corpus_folder(path, layout)
    root = folder if root is None else _with_files(root, layout)
    table_file = folder / layout.table
    stacks = _read_table(table_file, layout)
    notes = _restore_zeros(stacks, layout)
    bad = _find_bad_stacks(stacks, layout)
    raise_bad_cells(str(table_file), bad)  # nothing below makes sense of them

    clips = _sweeps_of(stacks, layout).assign(**mapping.constants)
    flow = ExclusionFlow(clips)
    if check_files:
        is_there = clips["path"].map(lambda name: (root / name).is_file())
        flow.leave_out(~is_there, "file not there")
        notes += _note_unlisted(root, set(clips["path"]), layout)
    if flow.table.empty:
        raise InputError(
            f"none of the {len(stacks)} stacks of {table_file} is under {root} as {layout.path}; "
            "name the folder that holds them (--root)"
        )
    table = _contract_columns(flow.table)
    bad += mapping.decode(table)
    labelled = int(table["ac_mm"].notna().sum())
    notes.append(f"ac_mm is known for {labelled} of {len(table)} sweeps")
    raw = RawCohort(
        table=table,
        bad=bad,
        notes=notes,
        files=(table_file,),
        flow=tuple(flow.steps),
        clips_name=table_file.name,
    )
    return root, raw


def _corpus_folder(path: Path, layout: StackLayout) -> Path:
    """The folder that holds the table: the one that was named, or the corpus in it."""
    for folder in (path, path / layout.folder):
        if (folder / layout.table).is_file():
            return folder
    raise InputError(
        f"{path} holds no {layout.table}, nor does a folder {layout.folder} in it; name the "
        "folder that the corpus was unpacked to"
    )


def _with_files(root: Path, layout: StackLayout) -> Path:
    """The folder that paths of stacks begin at: the one that was named, or the corpus in it."""
    files_folder = layout.path.partition("/")[0]
    inner = root / layout.folder
    is_above = not (root / files_folder).exists() and (inner / files_folder).exists()
    return inner if is_above else root


def _read_table(file: Path, layout: StackLayout) -> pd.DataFrame:
    """Stacks with `stack`, `patient_id`, `line`, and the circumference of each sweep by number."""
    raw = read_text_table(file)
    headers = {"stack": layout.stack, "patient_id": layout.patient_id}
    headers |= {str(number): sweep.ac_mm for number, sweep in layout.sweeps.items()}
    absent = [header for header in headers.values() if header not in raw.columns]
    if absent:
        raise InputError(
            f"{file} has no column {', '.join(map(repr, absent))}, which the column map names; "
            f"it has {', '.join(map(str, raw.columns.drop('line')))}"
        )
    if raw.empty:
        raise InputError(f"{file} has no rows")
    cells = {name: raw[header] for name, header in headers.items()}
    return missing_as_nan(pd.DataFrame(cells).assign(line=raw["line"]))


def _restore_zeros(stacks: pd.DataFrame, layout: StackLayout) -> list[str]:
    """Give ids the zeros back that a spreadsheet took, in place, with a note.

    Else a patient could be two where only some of the rows lost them.
    """
    ids = stacks["patient_id"]
    lost = ids.str.fullmatch(r"\d+").eq(True) & ids.str.len().lt(layout.id_digits)
    stacks["patient_id"] = ids.mask(lost, ids.str.zfill(layout.id_digits))
    if not lost.any():
        return []
    return [
        f"{int(lost.sum())} {layout.patient_id} have fewer than {layout.id_digits} digits; zeros "
        "were put in front"
    ]


def _find_bad_stacks(stacks: pd.DataFrame, layout: StackLayout) -> list[BadCell]:
    """Stacks without an id or named twice, and circumferences that cannot be, by their headers."""
    named = stacks.rename(columns={"stack": layout.stack, "patient_id": layout.patient_id})
    names = named[layout.stack]
    leads_elsewhere = names.str.contains(r"[/\\]").eq(True)
    repeated = names.notna() & names.duplicated()
    patients = named[layout.patient_id]
    bad = bad_cells(named, layout.stack, names.isna(), "may not be empty")
    bad += bad_cells(named, layout.stack, leads_elsewhere, "the name of a file without folders")
    bad += bad_cells(named, layout.stack, repeated, "one row per stack; it stands further up too")
    bad += bad_cells(named, layout.patient_id, patients.isna(), "may not be empty")
    low, high = _AC_LIMITS_MM
    for number, sweep in layout.sweeps.items():
        cells = stacks[str(number)]
        numbers = pd.to_numeric(cells, errors="coerce")
        outside = cells.notna() & ~numbers.between(low, high)
        columns = stacks[["line"]].assign(**{sweep.ac_mm: cells})
        accepted = f"a number from {low} to {high} mm, or empty"
        bad += bad_cells(columns, sweep.ac_mm, outside, accepted)
    return bad


def _sweeps_of(stacks: pd.DataFrame, layout: StackLayout) -> pd.DataFrame:
    """A row per sweep, those of a stack one after another; a stack is one visit and one exam."""
    parts = []
    for number, sweep in layout.sweeps.items():
        start = (number - 1) * layout.frames_per_sweep
        part = FrameRange(start, start + layout.frames_per_sweep, layout.frames)
        rows = pd.DataFrame(
            {
                "patient_id": stacks["patient_id"],
                "study_id": stacks["stack"],
                "exam_id": stacks["stack"],
                "path": stacks["stack"].map(lambda name: layout.path.replace(STACK_NAME, name)),
                "frame_range": str(part),
                "sweep": sweep.sweep,
                "sweep_direction": sweep.direction,
                "ac_mm": stacks[str(number)],
                "line": stacks["line"],
            }
        )
        parts.append(rows)
    return pd.concat(parts).sort_index(kind="stable").reset_index(drop=True)


def _note_unlisted(root: Path, listed: set[str], layout: StackLayout) -> list[str]:
    """Note how many files lie among the stacks and in no row: nobody knows whose they are."""
    folder_name, _, name = layout.path.rpartition("/")
    found = (root / folder_name).glob(name.replace(STACK_NAME, "*"))
    unlisted = [file for file in found if file.relative_to(root).as_posix() not in listed]
    if not unlisted:
        return []
    return [f"{len(unlisted)} files in {folder_name} are in no row of the table and are not read"]


def _contract_columns(clips: pd.DataFrame) -> pd.DataFrame:
    names = [*COLUMNS, *LABELS]
    table = clips.reindex(columns=[*names, "line"]).reset_index(drop=True)
    return table.astype(dict.fromkeys(names, "str"))
