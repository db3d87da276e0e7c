"""The clips of a run with the labels and splits of their cohort, of one source or of several."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from bsou_dist.cohort.labels import encode_labels, require_labels
from bsou_dist.cohort.splits import split_sizes
from bsou_dist.common.errors import InputError
from bsou_dist.common.keyed_random import keyed_permutation
from bsou_dist.engine.processes import Processes
from bsou_dist.experiment.data_config import DataConfig
from bsou_dist.experiment.join import OF_COHORT, JoinedSource, join_source
from bsou_dist.experiment.joined_cache import JoinedCache, load_kept
from bsou_dist.experiment.mixing import check_together, with_source
from bsou_dist.experiment.record import DataRecord
from bsou_dist.feed.dataset import ClipSet, Mixture
from bsou_dist.tasks.labels import is_missing, missing_label
from bsou_dist.tasks.task import Task


@dataclass(frozen=True)
class Corpus:
    """The clips of shard folders that their cohort tables know, row by row with their cohort row.

    Attributes:
        shards: folder that the manifest's shards are named from.
        manifest: a row per clip; of several sources it has `source`, the name of a clip's.
        cohort: the same rows of the cohort tables, without identities.
        record: what tells these data from others.
        notes: sentences about what is left out.
        weights: of several sources, by name.
    """

    shards: Path
    manifest: pd.DataFrame
    cohort: pd.DataFrame
    record: DataRecord
    notes: tuple[str, ...]
    weights: Mapping[str, float]

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

    def split_sizes(self) -> pd.DataFrame:
        """Patients, exams and clips of every split."""
        identities = self.manifest[["patient", "exam"]]
        identities = identities.set_axis(["patient_id", "exam_id"], axis="columns")
        return split_sizes(pd.concat([self.cohort, identities], axis="columns"))

    def used(self, split_columns: list[str]) -> ClipSet:
        """Every clip of any split of some columns, without labels."""
        in_any_split = self.cohort[split_columns].notna().any(axis=1).to_numpy()
        return ClipSet(self.shards, self.manifest[in_any_split], {})

    def clips(
        self,
        split_column: str,
        split: str,
        tasks: Sequence[Task],
        *,
        shuffled: bool = False,
        share: float = 1.0,
        seed: int = 0,
    ) -> ClipSet:
        """The clips of a split with the labels of some tasks.

        They come in manifest order, or `shuffled` in one fixed random order. To train on, a source
        counts only if it has a label of one of the tasks there: it would take its share of every
        batch and teach nothing. Of the patients only a `share`, drawn by `seed`, comes along.
        """
        rows = self.rows_of_share(self.rows(split_column, split), share, seed)
        if shuffled:
            rows = rows[keyed_permutation(len(rows), "fixed order")]
        labels = {}
        for task in tasks:
            encoded = self.labels(task)[rows]
            is_index = np.issubdtype(encoded.dtype, np.integer)
            labels[task.name] = encoded if is_index else encoded.astype(np.float32)
        if split != "train" or not self.weights:
            return ClipSet(self.shards, self.manifest.iloc[rows], labels)
        return self._mixed(rows, labels)

    def _mixed(self, rows: np.ndarray, labels: dict[str, np.ndarray]) -> ClipSet:
        """Clips to train on, of those sources that have a label."""
        source = self.manifest["source"].iloc[rows].to_numpy()
        labelled = np.full(len(rows), not labels)
        for values in labels.values():
            labelled |= ~is_missing(values)
        names = [name for name in self.weights if labelled[source == name].any()]
        kept = np.isin(source, names)
        code = pd.Categorical(source[kept], categories=names).codes.astype(np.int64)
        return ClipSet(
            self.shards,
            self.manifest.iloc[rows[kept]],
            {name: values[kept] for name, values in labels.items()},
            Mixture(code, {name: self.weights[name] for name in names}),
        )

    def rows(self, split_column: str, split: str) -> np.ndarray:
        """Positions of the clips of a split, int64."""
        return np.flatnonzero(self.cohort[split_column].eq(split).to_numpy())

    def rows_of_share(self, rows: np.ndarray, share: float, seed: int) -> np.ndarray:
        """Those positions of clips that belong to a share of their patients, at least one of them.

        Patients are taken in an order that depends on the seed alone, so that a larger share holds
        all that a smaller one does.
        """
        if share >= 1:
            return rows
        patients = self.manifest["patient"].iloc[rows]
        names = np.unique(patients.to_numpy(str))
        count = max(1, round(share * len(names)))
        kept = names[keyed_permutation(len(names), "share of patients", seed)[:count]]
        return rows[patients.isin(kept).to_numpy()]


def load_corpus(
    data: DataConfig, tasks: Sequence[Task] = (), cache: JoinedCache | None = None
) -> Corpus:
    """Read every source of a run, or what the cache has of it.

    Args:
        data: where they are.
        tasks: those that labels are wanted of.
        cache: where joined sources are kept.

    Raises:
        InputError: a source is bad, or sources do not fit together.
    """
    cache = cache or JoinedCache(None)
    columns = _label_columns(tasks)
    loaded = {name: cache.load(source, columns)[0] for name, source in data.by_name.items()}
    return _corpus(data, loaded, tasks)


def share_corpus(
    data: DataConfig, tasks: Sequence[Task], cache: JoinedCache, processes: Processes
) -> Corpus:
    """Read every source on the first process, and map what it has kept on the others. Collective.

    A process that cannot see the first one's files reads the sources itself.

    Raises:
        InputError: on every process, as `load_corpus`.
    """
    columns = _label_columns(tasks)
    sources = data.by_name
    loaded: dict[str, JoinedSource] = {}
    paths: dict[str, Path | None] = {}
    fault: str | None = None
    if processes.first:
        try:
            for name, source in sources.items():
                loaded[name], paths[name] = cache.load(source, columns)
        except InputError as error:
            fault = str(error)
    fault, paths = processes.broadcast((fault, paths))
    if fault is not None:
        raise InputError(fault)
    if not processes.first:
        for name, source in sources.items():
            path = paths[name]
            kept = load_kept(path) if path else None
            loaded[name] = kept or join_source(source, columns)
    return _corpus(data, loaded, tasks)


def _label_columns(tasks: Sequence[Task]) -> list[str]:
    return list(dict.fromkeys(task.label for task in tasks))


def _corpus(data: DataConfig, loaded: Mapping[str, JoinedSource], tasks: Sequence[Task]) -> Corpus:
    """Put the sources of a run together."""
    sources = data.by_name
    if data.sources:
        folders = {name: Path(os.path.abspath(source.shards)) for name, source in sources.items()}
        shards = Path(os.path.commonpath(folders.values()))
        tables = [
            with_source(loaded[name].table, name, folder.relative_to(shards))
            for name, folder in folders.items()
        ]
        table = pa.concat_tables(tables, promote_options="permissive")
    else:
        [(name, source)] = sources.items()
        shards, table = source.shards, loaded[name].table
    manifest, cohort = _apart(table)
    if data.sources:
        check_together(sources, manifest, cohort)
    notes = [
        f"{name}: {note}" if name else note
        for name, source in loaded.items()
        for note in source.notes
    ]
    notes += _unscaled(manifest, tasks)
    weights = {name: source.weight for name, source in data.sources.items()}
    return Corpus(shards, manifest, cohort, _record(loaded), tuple(notes), weights)


def _apart(table: pa.Table) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Manifest and cohort rows of a joined table, which they share memory with."""
    of_cohort = [name for name in table.column_names if name.startswith(OF_COHORT)]
    of_manifest = [name for name in table.column_names if name not in of_cohort]
    manifest = table.select(of_manifest).to_pandas(split_blocks=True)
    cohort = table.select(of_cohort).to_pandas(split_blocks=True)
    return manifest, cohort.rename(columns=lambda name: name.removeprefix(OF_COHORT))


def _unscaled(manifest: pd.DataFrame, tasks: Sequence[Task]) -> list[str]:
    """A sentence about clips without a scale, where tasks need one."""
    unscaled = int(manifest["mm_per_px"].isna().sum())
    lengths = dict.fromkeys(task.label for task in tasks if task.needs_scale)
    if not unscaled or not lengths:
        return []
    return [
        f"{unscaled} clips have no known pixel spacing; {' and '.join(lengths)} are missing "
        "for them"
    ]


def _record(loaded: Mapping[str, JoinedSource]) -> DataRecord:
    """What tells the data of all sources from others, whatever their names and order."""
    if len(loaded) == 1:
        return next(iter(loaded.values())).record
    records = sorted((source.record for source in loaded.values()), key=lambda one: one.fingerprint)
    columns = sorted({column for record in records for column in record.own_labels})
    own_labels = {
        column: _hashed(record.own_labels.get(column, "") for record in records)
        for column in columns
    }
    return DataRecord(_hashed(record.fingerprint for record in records), own_labels)


def _hashed(texts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
