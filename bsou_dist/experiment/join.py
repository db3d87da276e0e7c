"""One shard folder joined with its cohort table: a row per clip that both have and that is wanted.

What is joined is held as an Arrow table, which a file can hold and a process can map, and holds no
identities: pseudonyms stand for them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from bsou_dist.cohort.columns import COLUMNS
from bsou_dist.cohort.frame_ranges import clip_names
from bsou_dist.cohort.splits import apply_splits
from bsou_dist.cohort.table import cohort_fingerprint, column_fingerprint, read_cohort
from bsou_dist.common.errors import InputError
from bsou_dist.experiment.data_config import SourceConfig
from bsou_dist.experiment.record import DataRecord
from bsou_dist.packing.private_folder import KEY_NAME
from bsou_dist.shards.manifest import read_manifest
from bsou_dist.shards.pseudonyms import Pseudonymizer, default_private_dir, load_key

PREDICTION_COLUMNS = ("ga_days",)
"""Cohort columns that predictions carry for subgroups, beside those of the manifest."""
IDENTITIES = ("patient_id", "study_id", "exam_id", "path")
"""Cohort columns that nothing behind the join needs."""
FOR_PACKING = ("sha256", "scale_source", "notes")
"""Manifest columns that nothing behind the join needs."""
OF_COHORT = "cohort."
"""What the names of cohort columns begin with, since both tables have some names in common."""
_RECORD = b"bsou.joined"


@dataclass(frozen=True)
class JoinedSource:
    """The clips of a source, row by row."""

    table: pa.Table
    """Columns of the manifest, and those of the cohort table behind `OF_COHORT`."""
    record: DataRecord
    """What tells these data from others."""
    notes: tuple[str, ...]

    @classmethod
    def of_table(cls, table: pa.Table) -> JoinedSource:
        """Read what `to_table` wrote."""
        kept = json.loads(table.schema.metadata[_RECORD])
        record = DataRecord(kept["fingerprint"], kept["own_labels"])
        return cls(table, record, tuple(kept["notes"]))

    def to_table(self) -> pa.Table:
        """All of it as one Arrow table."""
        kept = {
            "fingerprint": self.record.fingerprint,
            "own_labels": dict(self.record.own_labels),
            "notes": list(self.notes),
        }
        return self.table.replace_schema_metadata({_RECORD: json.dumps(kept).encode()})


def key_path(source: SourceConfig) -> Path:
    """Where the key lies that a source's shards were packed with."""
    return source.pseudonym_key or default_private_dir(source.shards) / KEY_NAME


def join_source(source: SourceConfig, label_columns: Collection[str]) -> JoinedSource:
    """Read the manifest and the cohort table and join them by the clips' pseudonyms.

    Args:
        source: where they are.
        label_columns: those that tasks read.

    Raises:
        InputError: either is bad, or they have no clip in common.
    """
    manifest = read_manifest(source.shards)
    cohort = read_cohort(
        source.cohort,
        column_map=source.column_map,
        allow_circular_dating=source.allow_circular_dating,
        label_columns=label_columns,
    )
    table = apply_splits(cohort.table, source.splits)
    manifest, rows, joining_notes = _joined(source, manifest, table)
    for column in PREDICTION_COLUMNS:
        manifest[column] = rows[column]
    digest = hashlib.sha256(cohort_fingerprint(table).encode())
    for checksum in manifest["sha256"]:
        digest.update(checksum.encode())
    own = [name for name in label_columns if name in table and name not in COLUMNS]
    record = DataRecord(
        digest.hexdigest(), {column: column_fingerprint(table, column) for column in own}
    )
    notes = (*cohort.notes, *joining_notes)
    return JoinedSource(_side_by_side(manifest, rows, label_columns), record, notes)


def _side_by_side(
    manifest: pd.DataFrame, rows: pd.DataFrame, label_columns: Collection[str]
) -> pa.Table:
    """Both tables as one, column by column; numbers without a value are NaN and not null."""
    columns = {name: _arrow(manifest[name]) for name in manifest.columns if name not in FOR_PACKING}
    for name in rows.columns:
        if name not in IDENTITIES or name in label_columns:
            columns[OF_COHORT + name] = _arrow(rows[name])
    return pa.table(columns)


def _arrow(column: pd.Series) -> pa.Array:
    if pd.api.types.is_numeric_dtype(column.dtype):
        return pa.array(column.to_numpy(), from_pandas=False)
    return pa.array(column, type=pa.large_string(), from_pandas=True)


def _joined(
    source: SourceConfig, manifest: pd.DataFrame, table: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Manifest and cohort rows of the clips that both have and that are wanted; and notes.

    The notes count the other clips.
    """
    key = key_path(source)
    pseudonymizer = Pseudonymizer(load_key(key))
    pseudonyms = [pseudonymizer.clip(name) for name in clip_names(table)]
    place = pd.Series(np.arange(len(table)), index=pseudonyms)
    found = place.reindex(manifest["clip"])
    known = found.notna().to_numpy()
    if not known.any():
        raise InputError(
            f"no clip of {source.shards} is in {source.cohort}: the table is of another cohort, or "
            f"{key} is not the key that these shards were packed with"
        )
    rows = table.iloc[found[known].astype(int)].reset_index(drop=True)
    of_class = rows["clip_class"].isin(source.clip_classes)
    wanted = (of_class | rows["clip_class"].isna()).to_numpy()
    if not wanted.any():
        classes = ", ".join(map(str, rows["clip_class"].unique()))
        raise InputError(
            f"no clip of {source.cohort} is of class {' or '.join(source.clip_classes)}; set "
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
            f"{int((~wanted).sum())} clips of another class than {', '.join(source.clip_classes)} "
            "are not used"
        )
    manifest = manifest[known][wanted].reset_index(drop=True)
    return manifest, rows[wanted].reset_index(drop=True), notes
