"""The cohort: a row per clip, read from one table or several, cleaned and checked as a whole."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from bsou_dist.cohort import validate
from bsou_dist.cohort.acouslic.layout import read_stacks
from bsou_dist.cohort.bad_cells import BadCell, note_bad_cells, raise_bad_cells
from bsou_dist.cohort.column_map import READY_MAPS, ColumnMap, load_column_map
from bsou_dist.cohort.columns import (
    CIRCULAR_GA_SOURCES,
    COLUMNS,
    MASKED_FOR_MULTIPLES,
    OPTIONAL_SPLITS,
)
from bsou_dist.cohort.exclusions import AS_FOUND, FlowStep, flow_step
from bsou_dist.cohort.famli.layout import read_layout
from bsou_dist.cohort.famli.tags import read_tag
from bsou_dist.cohort.frame_ranges import COLUMN as FRAME_RANGE
from bsou_dist.cohort.frame_ranges import clip_names, tidy_frame_ranges
from bsou_dist.cohort.raw_cohort import RawCohort
from bsou_dist.cohort.text_table import missing_as_nan, read_text_table
from bsou_dist.common.errors import InputError


@dataclass(frozen=True)
class Cohort:
    """Cohort that was read and checked.

    ``table`` has the contract columns (text with NaN for missing, numbers as float64), the split
    columns that the source has, and ``line``, the line of the file (of a Parquet file: the row,
    counted from 1; of several tables: that of the table of clips). ``notes`` are sentences about
    what was taken as missing or ignored. ``flow`` counts what remains after each step that left
    clips out, ``files`` are the tables that were read, ``set_aside`` are cells of a layout of
    several tables that could not be used as they were. ``codes`` are, by column, the values that
    the column map itself has brought in.
    """

    table: pd.DataFrame
    root: Path
    notes: tuple[str, ...] = ()
    flow: tuple[FlowStep, ...] = ()
    files: tuple[Path, ...] = ()
    set_aside: tuple[BadCell, ...] = ()
    codes: Mapping[str, frozenset[str]] = field(default_factory=dict)


def read_cohort(
    path: Path,
    *,
    column_map: Path | str | None = None,
    root: Path | None = None,
    allow_circular_dating: bool = False,
    check_files: bool = False,
    label_columns: Collection[str] = (),
    strict: bool = False,
) -> Cohort:
    """Read and check a cohort.

    Args:
        path: a ``.csv`` or ``.parquet`` file with a row per clip, or with a map of a folder (of
            several tables, or of stacks) that folder.
        column_map: name of a ready map (``READY_MAPS``), or YAML that maps a foreign layout to ours
            (``ColumnMap``).
        root: folder that ``path`` cells are relative to; by default the table's own, or the folder
            of the layout.
        allow_circular_dating: keep ``ga_days`` dated by the same scan's biometry
            (``CIRCULAR_GA_SOURCES``).
        check_files: also look for the clips' files: a row without one is bad, or in the layout of
            a folder left out and counted.
        label_columns: columns beside the contract's that tasks of one's own read; they are kept, as
            text, where a table with a row per clip has them. Those of a layout are always kept.
        strict: make bad cells of a layout of several tables errors too; else they are taken as
            missing or resolved by a rule, with a note, and come back in ``set_aside``.

    Raises:
        InputError: a file or a column is missing, or any row is bad; one message names all bad
            rows.
    """
    mapping = load_column_map(column_map) if column_map else ColumnMap()
    is_layout = bool(mapping.tables or mapping.stacks)
    if mapping.tables:
        root = path if root is None else root
        raw = read_layout(
            path,
            mapping,
            files_under=root if check_files else None,
            clips_root=root,
            strict=strict,
        )
    elif mapping.stacks:
        root, raw = read_stacks(path, mapping, root, check_files=check_files)
    else:
        root = path.parent if root is None else root
        raw = _read_one_table(path, mapping, label_columns)

    table = raw.table
    notes = [*raw.notes, *note_bad_cells(raw.set_aside)]
    _fill_from_tags(table)
    notes += _drop_other_placentas(table)
    notes += _mask_multiples(table)
    if not allow_circular_dating:
        notes += _mask_circular_dating(table)
    _fill_exam_ids(table)
    table["path"] = table["path"].map(_normal_path, na_action="ignore").astype("str")
    tidy_frame_ranges(table)

    bad_rows = validate.find_bad_rows(table)
    bad = raw.bad + [replace(cell, table=raw.clips_name) for cell in bad_rows]
    if check_files and not is_layout:  # a layout has left out the clips without a file
        without_file = validate.find_missing_files(table, root)
        if len(without_file) == len(table) > 1 and not bad:
            # not the rows but the folder is at fault
            raise InputError(
                f"none of the {len(table)} files of the cohort is under {root}; name the folder "
                "that its paths are relative to (--root)"
            )
        bad += without_file
    raise_bad_cells(str(path), bad)
    flow = raw.flow or (flow_step(AS_FOUND, table),)
    return Cohort(table, root, tuple(notes), flow, raw.files, raw.set_aside, mapping.own_values())


def _normal_path(path: str) -> str:
    """The path in the words of this system; tables made on Windows part folders by backslashes."""
    return posixpath.normpath(path.replace("\\", "/"))


def _read_one_table(path: Path, mapping: ColumnMap, label_columns: Collection[str]) -> RawCohort:
    """Read a table with a row per clip."""
    if path.is_dir():
        own = path / "cohort.csv"
        hint = f"did you mean {own}? Otherwise a" if own.is_file() else "a"
        raise InputError(
            f"{path} is a folder; {hint} layout of a folder needs a column map: one of "
            f"{', '.join(READY_MAPS)}, or one based on it"
        )
    if not path.is_file():
        raise InputError(f"no cohort table at {path}")
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise InputError(
            f"{path.name} is no cohort table by its name; it must end in .csv or .parquet"
        )
    raw = read_text_table(path)
    if raw.empty:
        raise InputError(f"{path} has no rows")
    frame = mapping.rename(missing_as_nan(raw), str(path))
    validate.check_columns(list(frame.columns), str(path))
    own_labels = [name for name in label_columns if name in frame and name not in COLUMNS]
    table = _contract_columns(frame, own_labels)
    return RawCohort(
        table=table,
        bad=mapping.decode(table),
        notes=_note_ignored(frame, mapping, own_labels),
        files=(path,),
    )


def cohort_fingerprint(table: pd.DataFrame) -> str:
    """SHA-256 of a cohort's contract and split columns, whatever the order of its rows.

    Where no clip is a part of a file, the column for that does not count: cohorts had none once.
    """
    columns = [name for name in (*COLUMNS, *OPTIONAL_SPLITS) if name in table.columns]
    if FRAME_RANGE in columns and table[FRAME_RANGE].isna().all():
        columns.remove(FRAME_RANGE)
    text = _by_clip(table)[columns].to_csv(index=False, lineterminator="\n")
    return hashlib.sha256(text.encode()).hexdigest()


def column_fingerprint(table: pd.DataFrame, column: str) -> str:
    """SHA-256 of one column by the clips' names, independent of the order of rows."""
    named = table[[column]].assign(path=clip_names(table))[["path", column]]
    text = named.sort_values("path").to_csv(index=False, lineterminator="\n")
    return hashlib.sha256(text.encode()).hexdigest()


def _by_clip(table: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of the clips' names."""
    return table.loc[clip_names(table).sort_values().index]


def _note_ignored(frame: pd.DataFrame, mapping: ColumnMap, own_labels: Sequence[str]) -> list[str]:
    known = {*COLUMNS, *OPTIONAL_SPLITS, "line", *mapping.columns.values(), *own_labels}
    ignored = [column for column in frame.columns if column not in known]
    if not ignored:
        return []
    absent = [name for name in COLUMNS if name not in frame.columns]
    hinted = (f"{column!r}{validate.did_you_mean(column, absent)}" for column in ignored)
    return [f"columns that a cohort does not use were ignored: {', '.join(hinted)}"]


def _contract_columns(frame: pd.DataFrame, own_labels: Sequence[str]) -> pd.DataFrame:
    splits = [name for name in OPTIONAL_SPLITS if name in frame.columns]
    names = [*COLUMNS, *own_labels, *splits]
    table = frame.reindex(columns=[*names, "line"])
    return table.astype(dict.fromkeys(names, "str"))


def _fill_from_tags(table: pd.DataFrame) -> None:
    """Fill sweep, clip class and operator from the tag, in place, where the table has none."""
    sweeps: dict[str, str | None] = {}
    classes: dict[str, str | None] = {}
    operators: dict[str, str | None] = {}
    for tag in table["tag_raw"].dropna().unique():
        meaning = read_tag(tag)
        sweeps[tag] = meaning.sweep
        classes[tag] = meaning.clip_class
        operators[tag] = "novice" if meaning.novice else None

    known_sweep = table["sweep"].notna()
    blind_by_sweep = table["clip_class"].isna() & known_sweep
    table["clip_class"] = table["clip_class"].mask(blind_by_sweep, "blind")
    for column, meaning_of in (("sweep", sweeps), ("clip_class", classes), ("operator", operators)):
        by_tag = table["tag_raw"].map(meaning_of).astype("str")
        table[column] = table[column].fillna(by_tag)
    not_blind = table["clip_class"].notna() & table["clip_class"].ne("blind")
    table["sweep"] = table["sweep"].mask(not_blind & ~known_sweep)


def _drop_other_placentas(table: pd.DataFrame) -> list[str]:
    """Make sites other than anterior and posterior (fundal, lateral, low) missing, with a note."""
    other = table["placenta"].notna() & ~table["placenta"].isin(COLUMNS["placenta"].allowed)
    if not other.any():
        return []
    values = table.loc[other, "placenta"].nunique()
    table["placenta"] = table["placenta"].mask(other)
    return [
        f"placenta is neither anterior nor posterior in {_clips(other)} ({values} other "
        f"{'value' if values == 1 else 'values'}), taken as missing"
    ]


def _mask_multiples(table: pd.DataFrame) -> list[str]:
    """Make labels missing that are not defined for multiple pregnancies, with a note."""
    labels = list(MASKED_FOR_MULTIPLES)
    multiple = table["fetuses"].gt(1)
    labelled = multiple & table[labels].notna().any(axis="columns")
    for column in labels:
        table[column] = table[column].mask(multiple)
    if not labelled.any():
        return []
    return [f"{_clips(labelled)} of multiple pregnancies: {', '.join(labels)} taken as missing"]


def _mask_circular_dating(table: pd.DataFrame) -> list[str]:
    """Make ages missing that come from the scan's own biometry, with a note."""
    by_biometry = table["ga_source"].str.lower().isin(CIRCULAR_GA_SOURCES)
    circular = by_biometry & table["ga_days"].notna()
    table["ga_days"] = table["ga_days"].mask(circular)
    if not circular.any():
        return []
    return [
        f"ga_days of {_clips(circular)} comes from the scan's own biometry, taken as missing "
        "(allow_circular_dating keeps it)"
    ]


def _fill_exam_ids(table: pd.DataFrame) -> None:
    """Name exams that have no name, in place: an exam is one device and operator at one visit."""
    device = table["device"].fillna("unknown device")
    operator = table["operator"].fillna("unknown operator")
    made = table["study_id"] + "/" + device + "/" + operator
    table["exam_id"] = table["exam_id"].fillna(made)


def _clips(rows: pd.Series) -> str:
    count = int(rows.sum())
    noun = "clip" if count == 1 else "clips"
    return f"{count} {noun}"
