"""What a shard folder holds, in words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bsou_dist.common.errors import InputError
from bsou_dist.shards.manifest import read_manifest, read_summary
from bsou_dist.shards.pseudonyms import Pseudonymizer
from bsou_dist.tasks.task import Task

_COUNTED_COLUMNS = ("sweep", "clip_class", "device", "operator", "site")


def describe(
    shards_dir: Path,
    cohort_table: pd.DataFrame | None = None,
    pseudonymizer: Pseudonymizer | None = None,
    tasks: Mapping[str, Task] | None = None,
) -> str:
    """Count what a shard folder holds, as text; by label too with the cohort and the key.

    Args:
        shards_dir: the shard folder.
        cohort_table: the cohort that it was packed from.
        pseudonymizer: the pseudonyms by the key that it was packed with.
        tasks: whose labels are counted, by name.

    Raises:
        InputError: not a finished shard folder, or none of its clips is in the cohort by this key.
    """
    summary = read_summary(shards_dir)
    manifest = read_manifest(shards_dir)
    lines = _folder_lines(summary, manifest)
    for name in _COUNTED_COLUMNS:
        lines += _count_lines(name, manifest[name])
    if cohort_table is not None and pseudonymizer is not None:
        joined = _with_labels(manifest, cohort_table, pseudonymizer)
        found = int(joined["path"].notna().sum())
        if not found:
            is_same_key = pseudonymizer.fingerprint == summary["recipe"]["pseudonym_key"]
            remedy = (
                "that of these shards; name the cohort that they were packed from"
                if is_same_key
                else "not that of these shards; name theirs with --pseudonym-key"
            )
            raise InputError(
                f"no clip of {shards_dir} is in the cohort, and the pseudonym key is {remedy}"
            )
        lines.append(f"labels of {_counted(found, 'clip')} found in the cohort table")
        for task in (tasks or {}).values():
            if task.label in joined:
                lines += task.summarise(_encoded(joined[task.label], task))
    return "\n".join(lines)


def _encoded(cells: pd.Series, task: Task) -> np.ndarray:
    """Labels of a task from a column of a cohort table, missing ones included."""
    filled = cells.astype(object).where(cells.notna(), None)
    return np.array([task.encode(cell) for cell in filled], dtype=task.label_dtype)


def _folder_lines(summary: dict[str, Any], manifest: pd.DataFrame) -> list[str]:
    """What the folder holds as a whole, and how it was packed."""
    counts = summary["counts"]
    config = summary["recipe"]["config"]
    clips = _counted(len(manifest), "clip")
    patients = _counted(manifest["patient"].nunique(), "patient")
    studies = _counted(manifest["study"].nunique(), "study", "studies")
    exams = _counted(manifest["exam"].nunique(), "exam")
    shards = _counted(counts["shards"], "shard")
    size_px = config["prepare"]["size_px"]
    megabytes = counts["bytes"] / 1e6
    frame_kb = counts["bytes"] / counts["frames"] / 1e3
    without_spacing = _counted(counts["clips_without_spacing"], "clip")
    rejects = ", ".join(f"{count} {reason}" for reason, count in counts["rejects"].items())
    notes = ", ".join(f"{count} {note}" for note, count in counts["notes"].items())
    return [
        f"{clips} of {patients}, {studies}, {exams}, in {shards}",
        f"{counts['frames']} frames of {size_px} px, {megabytes:.1f} MB as {config['codec']} "
        f"({frame_kb:.1f} kB a frame)",
        f"field of {config['prepare']['field_mm']:g} mm; {without_spacing} without spacing",
        f"rejected: {rejects or 'none'}",
        f"noted: {notes or 'nothing'}",
    ]


def _with_labels(
    manifest: pd.DataFrame, cohort_table: pd.DataFrame, pseudonymizer: Pseudonymizer
) -> pd.DataFrame:
    """A row per clip of the manifest with the cohort's columns, empty where it has no such clip."""
    pseudonyms = [pseudonymizer.clip(path) for path in cohort_table["path"]]
    labels = cohort_table.assign(clip=pseudonyms)
    return manifest[["clip"]].merge(labels, on="clip", how="left", validate="one_to_one")


def _counted(count: int, noun: str, plural: str = "") -> str:
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"


def _count_lines(name: str, values: pd.Series) -> list[str]:
    counts = values.fillna("missing").value_counts()
    return [f"by {name}:", *(f"  {value:<24} {count:>8}" for value, count in counts.items())]
