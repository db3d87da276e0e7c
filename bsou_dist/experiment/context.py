"""What both stages of a run need at hand, and the record that a stage is done."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bsou_dist.engine.processes import Processes
from bsou_dist.experiment.config import RunConfig
from bsou_dist.experiment.corpus import Corpus
from bsou_dist.experiment.methods import FROM_SCRATCH, METHODS
from bsou_dist.feed.augment import AugmentConfig
from bsou_dist.feed.clips import ClipSet, ExamSet
from bsou_dist.feed.loader import Loader, Source
from bsou_dist.feed.pixels import Pixels
from bsou_dist.feed.quarantine import Quarantine, default_budget
from bsou_dist.tracking.tracker import TAG_DATA, TAG_METHOD, TAG_PHANTOM, TAG_SEED, TAG_STAGE, TAG_TASK, Tracker

DONE = "stage.json"
QUARANTINE = "quarantine-{}.csv"  # of each process
LOG_EVERY = 10  # optimizer steps per tracked point; a store that gets every step of a small model slows it down


@dataclass(frozen=True)
class Context:
    """A run under way, on one of its processes."""

    config: RunConfig
    corpus: Corpus
    processes: Processes
    tracker: Tracker

    @property
    def method(self) -> str:
        """Title of the method, as tables show it."""
        return METHODS[self.config.pretrain.method].title if self.config.pretrain else FROM_SCRATCH

    def pixels(self, clips: ClipSet, *, views: int = 1, augment: AugmentConfig | None = None) -> Pixels:
        """Decoded clips for this process."""
        path = self.config.folder / QUARANTINE.format(self.processes.rank)
        quarantine = Quarantine(path, default_budget(len(clips)))
        return Pixels(clips, self.config.feed, augment=augment, seed=self.config.seed, quarantine=quarantine,
                      views=views, device=self.processes.device)

    def loader(self, dataset: ClipSet | ExamSet, source: Source, *, global_batch: int, training: bool) -> Loader:
        """This process's rows of every global batch."""
        return Loader(dataset, source, global_batch=global_batch, seed=self.config.seed, training=training,
                      prefetch=self.config.feed.prefetch, rank=self.processes.rank, world=self.processes.world)

    def report(self, values: dict[str, float], step: int) -> None:
        """Send what a training loop measured to the tracker: epochs whole, steps thinned out."""
        if "valid/loss" in values or step % LOG_EVERY == 1:
            self.tracker.metrics(values, step)

    @contextmanager
    def tracked(self, name: str, *, stage: int, task: str, parent: str | None) -> Iterator[str]:
        """A tracked run around a stage; its id. It ends as finished, failed, or (interrupted) killed."""
        config = self.config
        run = self.tracker.start(
            f"{config.name}/{name}", parent=parent, params=config.model_dump(mode="json"),
            tags={TAG_METHOD: self.method, TAG_STAGE: str(stage), TAG_TASK: task, TAG_SEED: str(config.seed),
                  TAG_PHANTOM: str(config.data.phantom), TAG_DATA: self.corpus.fingerprint})
        try:
            yield run
        except KeyboardInterrupt:
            self.tracker.finish("KILLED")
            raise
        except BaseException:
            self.tracker.finish("FAILED")
            raise
        self.tracker.metrics({"quarantined_clips": float(len(self.quarantined()))})
        self.tracker.finish("FINISHED")

    def quarantined(self) -> set[str]:
        """Keys of the clips that any process has set aside so far."""
        files = self.config.folder.glob(QUARANTINE.format("*"))
        return {key for path in files for key in pd.read_csv(path)["key"]}


def finished(folder: Path) -> dict[str, Any] | None:
    """What a finished stage in `folder` left on record; None if it is not finished."""
    path = folder / DONE
    record: dict[str, Any] | None = json.loads(path.read_text()) if path.is_file() else None
    return record


def finish(folder: Path, record: dict[str, Any]) -> None:
    """Put on record that the stage in `folder` is done."""
    temporary = folder / f"{DONE}.tmp"
    temporary.write_text(json.dumps(record, indent=2))
    temporary.replace(folder / DONE)
