"""Shards joined with the labels and splits of the cohort table."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bsou_dist.cohort.labels import encode_labels, require_labels
from bsou_dist.cohort.splits import apply_splits
from bsou_dist.cohort.table import cohort_fingerprint, read_cohort
from bsou_dist.common.errors import InputError
from bsou_dist.common.keyed_random import keyed_permutation
from bsou_dist.experiment.config import DataConfig
from bsou_dist.feed.dataset import ClipSet
from bsou_dist.packing.pack import KEY_NAME
from bsou_dist.shards.manifest import read_manifest
from bsou_dist.shards.pseudonyms import Pseudonymizer, default_private_dir, load_key
from bsou_dist.tasks import TASKS

SIZE_LABELS = ("ga_days", "dvp_cm")
"""Labels that the size of anatomy carries: missing for a clip without known pixel spacing."""

PREDICTION_COLUMNS = ("ga_days",)
"""Cohort columns that predictions carry for subgroups, beside those of the manifest."""


@dataclass(frozen=True)
class Corpus:
    """The clips of a shard folder that the cohort table knows, row by row with their cohort row."""

    shards: Path
    manifest: pd.DataFrame
    cohort: pd.DataFrame
    fingerprint: str
    """SHA-256 of every clip's bytes, label and split."""
    notes: tuple[str, ...]

    def require(self, tasks: list[str], split_column: str, splits: tuple[str, ...]) -> None:
        """InputError unless each task has a label in each split."""
        require_labels(self.cohort, [TASKS[task] for task in tasks], split_column, splits)

    def used(self, split_columns: list[str]) -> ClipSet:
        """Every clip of any split of some columns, without labels."""
        mask = self.cohort[split_columns].notna().any(axis=1).to_numpy()
        return ClipSet(self.shards, self.manifest[mask], {})

    def clips(
        self, split_column: str, split: str, tasks: list[str], *, shuffled: bool = False
    ) -> ClipSet:
        """The clips of a split with the labels of some tasks, in manifest order or in one fixed
        random order.
        """
        rows = np.flatnonzero(self.cohort[split_column].eq(split).to_numpy())
        if shuffled:
            rows = rows[keyed_permutation(len(rows), "fixed order")]
        labels = {}
        for task in tasks:
            encoded = encode_labels(self.cohort, TASKS[task])[rows]
            labels[task] = encoded if encoded.dtype == np.int64 else encoded.astype(np.float32)
        return ClipSet(self.shards, self.manifest.iloc[rows], labels)


def load_corpus(data: DataConfig) -> Corpus:
    """Read the manifest and the cohort table and join them by the clips' pseudonyms.

    Raises:
        InputError: either is bad, or they have no clip in common.
    """
    manifest = read_manifest(data.shards)
    cohort = read_cohort(
        data.cohort, column_map=data.column_map, allow_circular_dating=data.allow_circular_dating
    )
    table = apply_splits(cohort.table, data.splits)
    key = data.pseudonym_key or default_private_dir(data.shards) / KEY_NAME
    pseudonymizer = Pseudonymizer(load_key(key))
    place = pd.Series(
        np.arange(len(table)), index=[pseudonymizer.clip(path) for path in table["path"]]
    )
    found = place.reindex(manifest["clip"])
    known = found.notna().to_numpy()
    if not known.any():
        raise InputError(
            f"no clip of {data.shards} is in {data.cohort}: the table is of another cohort, or "
            f"{key} is "
            "not the key that these shards were packed with"
        )
    manifest = manifest[known].reset_index(drop=True)
    rows = table.iloc[found[known].astype(int)].reset_index(drop=True)
    wanted = (rows["clip_class"].isin(data.clip_classes) | rows["clip_class"].isna()).to_numpy()
    if not wanted.any():
        raise InputError(
            f"no clip of {data.cohort} is of class {' or '.join(data.clip_classes)}; set "
            f"data.clip_classes to some of {', '.join(map(str, rows['clip_class'].unique()))}"
        )
    manifest, rows = (frame[wanted].reset_index(drop=True) for frame in (manifest, rows))
    rows.loc[manifest["mm_per_px"].isna(), list(SIZE_LABELS)] = np.nan
    manifest = manifest.assign(**{column: rows[column] for column in PREDICTION_COLUMNS})
    digest = hashlib.sha256(cohort_fingerprint(table).encode())
    for checksum in manifest["sha256"]:
        digest.update(checksum.encode())
    notes = [*cohort.notes]
    if not known.all():
        notes.append(
            f"{int((~known).sum())} clips of the shards are not in the cohort table and are not "
            "used"
        )
    if rejected := len(table) - int(known.sum()):
        notes.append(
            f"{rejected} clips of the cohort table are not in the shards (rejected when packed)"
        )
    if not wanted.all():
        notes.append(
            f"{int((~wanted).sum())} clips of another class than {', '.join(data.clip_classes)} "
            "are not used"
        )
    unscaled = int(manifest["mm_per_px"].isna().sum())
    if unscaled:
        notes.append(
            f"{unscaled} clips have no known pixel spacing; {' and '.join(SIZE_LABELS)} are "
            "missing for them"
        )
    return Corpus(data.shards, manifest, rows, digest.hexdigest(), tuple(notes))
