"""Shards joined with the labels and splits of the cohort table."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bsou_dist.cohort.columns import COLUMNS
from bsou_dist.cohort.frame_ranges import clip_names
from bsou_dist.cohort.labels import encode_labels, require_labels
from bsou_dist.cohort.splits import apply_splits
from bsou_dist.cohort.table import cohort_fingerprint, column_fingerprint, read_cohort
from bsou_dist.common.errors import InputError
from bsou_dist.common.keyed_random import keyed_permutation
from bsou_dist.experiment.config import DataConfig
from bsou_dist.experiment.record import DataRecord
from bsou_dist.feed.dataset import ClipSet
from bsou_dist.packing.private_folder import KEY_NAME
from bsou_dist.shards.manifest import read_manifest
from bsou_dist.shards.pseudonyms import Pseudonymizer, default_private_dir, load_key
from bsou_dist.tasks.labels import missing_label
from bsou_dist.tasks.task import Task

PREDICTION_COLUMNS = ("ga_days",)
"""Cohort columns that predictions carry for subgroups, beside those of the manifest."""


@dataclass(frozen=True)
class Corpus:
    """The clips of a shard folder that the cohort table knows, row by row with their cohort row."""

    shards: Path
    manifest: pd.DataFrame
    cohort: pd.DataFrame
    record: DataRecord
    """What tells these data from others."""
    notes: tuple[str, ...]

    def labels(self, task: Task) -> np.ndarray:
        """Encode a task's labels, (clips,); those that need a scale are missing without one.

        Raises:
            InputError: cells hold no value of the task.
        """
        labels = encode_labels(self.cohort, task)
        if task.needs_scale:
            unscaled = self.manifest["mm_per_px"].isna().to_numpy()
            labels[unscaled] = missing_label(labels.dtype)
        return labels

    def require(self, tasks: Sequence[Task], split_column: str, splits: tuple[str, ...]) -> None:
        """InputError unless each task has a label in each split."""
        labels_of = {task: self.labels(task) for task in tasks}
        require_labels(labels_of, self.cohort, split_column, splits)

    def used(self, split_columns: list[str]) -> ClipSet:
        """Every clip of any split of some columns, without labels."""
        in_any_split = self.cohort[split_columns].notna().any(axis=1).to_numpy()
        return ClipSet(self.shards, self.manifest[in_any_split], {})

    def clips(
        self, split_column: str, split: str, tasks: Sequence[Task], *, shuffled: bool = False
    ) -> ClipSet:
        """The clips of a split with the labels of some tasks.

        They come in manifest order, or `shuffled` in one fixed random order.
        """
        rows = self.rows(split_column, split)
        if shuffled:
            rows = rows[keyed_permutation(len(rows), "fixed order")]
        labels = {}
        for task in tasks:
            encoded = self.labels(task)[rows]
            is_index = np.issubdtype(encoded.dtype, np.integer)
            labels[task.name] = encoded if is_index else encoded.astype(np.float32)
        return ClipSet(self.shards, self.manifest.iloc[rows], labels)

    def rows(self, split_column: str, split: str) -> np.ndarray:
        """Positions of the clips of a split, int64."""
        return np.flatnonzero(self.cohort[split_column].eq(split).to_numpy())


def load_corpus(data: DataConfig, tasks: Sequence[Task] = ()) -> Corpus:
    """Read the manifest and the cohort table and join them by the clips' pseudonyms.

    Args:
        data: where they are.
        tasks: those that labels are wanted of.

    Raises:
        InputError: either is bad, or they have no clip in common.
    """
    manifest = read_manifest(data.shards)
    cohort = read_cohort(
        data.cohort,
        column_map=data.column_map,
        allow_circular_dating=data.allow_circular_dating,
        label_columns=[task.label for task in tasks],
    )
    table = apply_splits(cohort.table, data.splits)
    manifest, rows, joining_notes = _joined(data, manifest, table)
    for column in PREDICTION_COLUMNS:
        manifest[column] = rows[column]
    digest = hashlib.sha256(cohort_fingerprint(table).encode())
    for checksum in manifest["sha256"]:
        digest.update(checksum.encode())
    columns = [task.label for task in tasks if task.label in table and task.label not in COLUMNS]
    own_labels = {column: column_fingerprint(table, column) for column in columns}
    notes = [*cohort.notes, *joining_notes]
    unscaled = int(manifest["mm_per_px"].isna().sum())
    lengths = dict.fromkeys(task.label for task in tasks if task.needs_scale)
    if unscaled and lengths:
        notes.append(
            f"{unscaled} clips have no known pixel spacing; {' and '.join(lengths)} are missing "
            "for them"
        )
    record = DataRecord(digest.hexdigest(), own_labels)
    return Corpus(data.shards, manifest, rows, record, tuple(notes))


def _joined(
    data: DataConfig, manifest: pd.DataFrame, table: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Manifest and cohort rows of the clips that both have and that are wanted; and notes.

    The notes count the other clips.
    """
    key = data.pseudonym_key or default_private_dir(data.shards) / KEY_NAME
    pseudonymizer = Pseudonymizer(load_key(key))
    pseudonyms = [pseudonymizer.clip(name) for name in clip_names(table)]
    place = pd.Series(np.arange(len(table)), index=pseudonyms)
    found = place.reindex(manifest["clip"])
    known = found.notna().to_numpy()
    if not known.any():
        raise InputError(
            f"no clip of {data.shards} is in {data.cohort}: the table is of another cohort, or "
            f"{key} is not the key that these shards were packed with"
        )
    rows = table.iloc[found[known].astype(int)].reset_index(drop=True)
    of_class = rows["clip_class"].isin(data.clip_classes)
    wanted = (of_class | rows["clip_class"].isna()).to_numpy()
    if not wanted.any():
        classes = ", ".join(map(str, rows["clip_class"].unique()))
        raise InputError(
            f"no clip of {data.cohort} is of class {' or '.join(data.clip_classes)}; set "
            f"data.clip_classes to some of {classes}"
        )
    notes = []
    if not known.all():
        notes.append(
            f"{int((~known).sum())} clips of the shards are not in the cohort table and are not "
            "used"
        )
    rejected = len(table) - int(known.sum())
    if rejected:
        notes.append(
            f"{rejected} clips of the cohort table are not in the shards (rejected when packed)"
        )
    if not wanted.all():
        notes.append(
            f"{int((~wanted).sum())} clips of another class than {', '.join(data.clip_classes)} "
            "are not used"
        )
    manifest = manifest[known][wanted].reset_index(drop=True)
    return manifest, rows[wanted].reset_index(drop=True), notes
