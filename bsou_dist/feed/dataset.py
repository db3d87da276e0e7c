"""What there is to feed: the clips of a split, and its exams of six sweep slots.

Both answer the same questions, so that one loader serves both: length, identities, labels, and
`pick`, the clips that fill the slots of an item (one slot for a clip, six for an exam).
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from bsou_dist.common.errors import InputError
from bsou_dist.common.keyed_random import keyed_choice
from bsou_dist.common.sweeps import SWEEPS
from bsou_dist.tasks.labels import is_missing

EMPTY = -1
"""In `pick`: a slot without a clip."""


class Mixture(NamedTuple):
    """Clips of several sources, and how much of every training batch each source takes."""

    source: np.ndarray
    """int64 (n,): number of each clip's source."""
    weights: dict[str, float]
    """Shares of the sources by name, in the order of their numbers, relative to one another."""


class ClipSet:
    """Clips of one split, in manifest order.

    Attributes:
        manifest: the rows, renumbered from 0; `index` of a batch counts them.
        labels: per task int64 (n,) with -1 for missing, or float32 (n,) with NaN for missing.
        codec, height, width: of all clips. frames: int64 (n,), frames of each clip at rest.
        key: list of n keys. study, exam, subject: int64 (n,) codes that mean something within this
            set only, -1 where unknown. sweep: int64 (n,) position in `SWEEPS`, -1 where the sweep
            is of no canonical type.
        first_clip: int64 (n,), position in `clips` of the first clip of each item.
        mixture: of clips to train on from several sources.

    Raises:
        InputError: no clips, a shard that is not there, several codecs, or pictures of several
            sizes.
    """

    slots = 1

    def __init__(
        self,
        shards_dir: Path,
        manifest: pd.DataFrame,
        labels: dict[str, np.ndarray],
        mixture: Mixture | None = None,
    ) -> None:
        if manifest.empty:
            raise InputError(
                f"no clip of {shards_dir} is left in this split; check the split columns of the "
                "cohort"
            )
        for what in ("codec", "height", "width"):
            if manifest[what].nunique() > 1:
                found = ", ".join(map(str, sorted(manifest[what].unique())))
                raise InputError(
                    f"{shards_dir} holds clips of several values of {what} ({found}); "
                    "pack the cohort again with one setting"
                )
        absent = [name for name in manifest["shard"].unique() if not (shards_dir / name).is_file()]
        if absent:
            raise InputError(
                f"{shards_dir / absent[0]} is named in the manifest and is not there "
                f"({len(absent)} such shards); run 'bsou verify {shards_dir}' or pack again"
            )
        for task, values in labels.items():
            assert values.shape == (len(manifest),), (task, values.shape, len(manifest))
            assert values.dtype in (np.int64, np.float32), (task, values.dtype)
        self.shards_dir = shards_dir
        self.manifest = manifest.reset_index(drop=True)
        self.labels = labels
        self.mixture = mixture
        self.codec = str(self.manifest["codec"][0])
        self.height, self.width = int(self.manifest["height"][0]), int(self.manifest["width"][0])
        self.frames = self.manifest["frames"].to_numpy(dtype=np.int64)
        self.key: list[str] = self.manifest["key"].tolist()
        self.study, self.exam, self.subject = (
            pd.factorize(self.manifest[column])[0].astype(np.int64)
            for column in ("study", "exam", "patient")
        )
        self.sweep = pd.Categorical(self.manifest["sweep"], categories=list(SWEEPS)).codes.astype(
            np.int64
        )
        self.first_clip = np.arange(len(self.manifest))

    @property
    def clips(self) -> ClipSet:
        """The clips that `pick` numbers."""
        return self

    def __len__(self) -> int:
        return len(self.manifest)

    def pick(self, index: np.ndarray, seed: int, epoch: int, training: bool) -> np.ndarray:
        """The clip itself, int64 (n, 1)."""
        return index[:, None]


class ExamSet:
    """Exams of one split (one device, one operator, one visit), in the order of their first clip.

    An exam's label is that of its clips; give the labels of exam-level tasks only. Exams without a
    single canonical sweep have nothing to show and are left out: `skipped` lists their pseudonyms.

    Attributes:
        clips: the clips behind the exams. key: list of m exam pseudonyms. labels, study, exam,
            subject: as in `ClipSet`, (m,). sweep: -1 everywhere. first_clip: position in `clips` of
            each exam's first clip.

    Raises:
        InputError: clips of one exam with different labels, or no exam with a canonical sweep.
    """

    slots = len(SWEEPS)

    def __init__(self, clips: ClipSet) -> None:
        self.clips = clips
        by_exam = np.argsort(clips.exam, kind="stable")  # codes rise with the first clip of an exam
        by_exam = by_exam[clips.exam[by_exam] >= 0]
        groups = np.split(by_exam, np.flatnonzero(np.diff(clips.exam[by_exam])) + 1)
        kept = [rows for rows in groups if (clips.sweep[rows] >= 0).any()]
        if not kept:
            raise InputError(
                f"no exam of {clips.shards_dir} has a sweep of type {', '.join(SWEEPS)}; "
                "exam-level tasks need the sweep of each clip"
            )
        first = np.array([rows[0] for rows in kept])
        names = clips.manifest["exam"]
        self.key: list[str] = names[first].tolist()
        self.skipped: list[str] = sorted(set(names.dropna()) - set(self.key))
        self.candidates = [
            [rows[clips.sweep[rows] == slot] for slot in range(self.slots)] for rows in kept
        ]
        self.study, self.exam, self.subject = (
            clips.study[first],
            clips.exam[first],
            clips.subject[first],
        )
        self.sweep = np.full(len(first), -1, dtype=np.int64)
        self.first_clip = first
        self.labels = {
            task: np.array(
                [
                    self._label(task, values[rows], key)
                    for key, rows in zip(self.key, kept, strict=True)
                ],
                dtype=values.dtype,
            )
            for task, values in clips.labels.items()
        }

    @staticmethod
    def _label(task: str, values: np.ndarray, exam: str) -> float:
        present = np.unique(values[~is_missing(values)])
        if len(present) > 1:
            raise InputError(
                f"exam {exam} has clips with different labels for task {task!r} "
                f"({present.tolist()}); "
                "an exam-level task needs one label per exam: correct the cohort table"
            )
        return present[0] if len(present) else values[0]

    def __len__(self) -> int:
        return len(self.key)

    def pick(self, index: np.ndarray, seed: int, epoch: int, training: bool) -> np.ndarray:
        """Clip of every slot, int64 (n, 6), EMPTY where the exam has none or the row is padding.

        In training drawn by (seed, epoch, exam, slot); in evaluation the first in manifest order.
        """
        picked = np.full((len(index), self.slots), EMPTY, dtype=np.int64)
        for row, item in enumerate(index):
            if item < 0:
                continue
            for slot, candidates in enumerate(self.candidates[item]):
                if len(candidates):
                    chosen = (
                        keyed_choice(len(candidates), "slot", seed, epoch, self.key[item], slot)
                        if training
                        else 0
                    )
                    picked[row, slot] = candidates[chosen]
        return picked
