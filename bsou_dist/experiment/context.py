"""What both stages of a run need at hand, and the record that a stage is done."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bsou_dist.common.files import write_text
from bsou_dist.engine.processes import Processes
from bsou_dist.engine.stopping import Stopped
from bsou_dist.experiment.config import RunConfig
from bsou_dist.experiment.corpus import Corpus
from bsou_dist.experiment.record import DONE, Stage1Run, finished, method_title
from bsou_dist.feed.augment import AugmentConfig
from bsou_dist.feed.dataset import ClipSet, ExamSet
from bsou_dist.feed.loader import Loader
from bsou_dist.feed.order.make import OrderConfig
from bsou_dist.feed.pixels import Pixels
from bsou_dist.feed.protocol import ClipSource
from bsou_dist.feed.quarantine import Quarantine, default_budget, quarantined
from bsou_dist.tasks.task import Task
from bsou_dist.tracking.tracker import (
    TAG_DATA,
    TAG_METHOD,
    TAG_PHANTOM,
    TAG_SEED,
    TAG_STAGE,
    TAG_TASK,
    TAG_TASK_RECORD,
    Tracker,
)

TRACKING_RUN = "tracking_run.txt"
# optimizer steps per tracked point; a store that gets every step of a small model slows it down
LOG_EVERY = 10


@dataclass(frozen=True)
class Context:
    """A run under way, on one of its processes."""

    config: RunConfig
    corpus: Corpus
    processes: Processes
    tracker: Tracker
    stage1: Stage1Run | None = None
    """Where stage 2 finds its encoders; None for a run without a stage 1."""
    profile_steps: int | None = None
    """How many steps of each stage are traced."""

    @property
    def method(self) -> str:
        """Title of the method, as tables show it; without stage 1 plain supervised training."""
        return method_title(self.config, self.stage1)

    @property
    def encoder_metadata(self) -> dict[str, Any]:
        """What a checkpoint must say for its encoder to be built again."""
        config = self.config
        return {
            "encoder": config.encoder.model_dump(),
            "frames": config.feed.frames,
            "size_px": config.feed.size_px,
        }

    def pixels(
        self, clips: ClipSet, *, views: int = 1, augment: AugmentConfig | None = None
    ) -> Pixels:
        """Decoded clips for this process."""
        budget = default_budget(len(self.corpus.manifest))
        return Pixels(
            clips,
            self.config.feed,
            augment=augment,
            seed=self.config.seed,
            views=views,
            quarantine=Quarantine(self.config.folder, budget, self.processes.rank),
            device=self.processes.device,
        )

    def loader(
        self,
        dataset: ClipSet | ExamSet,
        source: ClipSource,
        *,
        global_batch: int,
        training: bool,
        order: OrderConfig | None = None,
        keep_all: bool = False,
    ) -> Loader:
        """This process's rows of every global batch; see `Loader`."""
        return Loader(
            dataset,
            source,
            global_batch=global_batch,
            seed=self.config.seed,
            training=training,
            order=order,
            keep_all=keep_all,
            prefetch=self.config.feed.prefetch,
            rank=self.processes.rank,
            world=self.processes.world,
        )

    def finished(self, folder: Path) -> dict[str, Any] | None:
        """Read `record.finished` as the first process sees it.

        What the others see of a shared file system may be older.
        """
        return self.processes.broadcast(finished(folder))

    def report(self, values: dict[str, float], step: int) -> None:
        """Send what a training loop measured to the tracker: epochs whole, steps thinned out."""
        if "valid/loss" in values or step % LOG_EVERY == 1:
            self.tracker.metrics(values, step)

    @contextmanager
    def tracked(
        self, name: str, folder: Path, *, stage: int, tasks: Sequence[Task], parent: str | None
    ) -> Iterator[str]:
        """Track a stage in `folder` as a run; its id, the same one after an interruption.

        The run ends as finished, failed, or (interrupted) killed.
        """
        config = self.config
        known = folder / TRACKING_RUN
        tags = {
            TAG_METHOD: self.method,
            TAG_STAGE: str(stage),
            TAG_TASK: "+".join(task.name for task in tasks),
            TAG_SEED: str(config.seed),
            TAG_PHANTOM: str(config.data.phantom),
            TAG_DATA: self.corpus.record.fingerprint,
        }
        if stage == 2:
            # A table of results is made by whoever has nothing but the tracker.
            task = tasks[0]
            place = list(config.tasks.by_name).index(task.name)
            record = {"place": place, "task": task.model_dump(mode="json")}
            tags[TAG_TASK_RECORD] = json.dumps(record)
        run = self.tracker.start(
            f"{config.name}/{name}",
            parent=parent,
            params=config.described(),
            tags=tags,
            run=known.read_text() if known.is_file() else None,
        )
        if self.processes.first:
            write_text(known, run)
        try:
            yield run
        except (KeyboardInterrupt, Stopped) as error:
            self.processes.tell_failure(error)
            self.tracker.finish("KILLED")
            raise
        except BaseException as error:
            # At once: closing the tracker's run may take seconds.
            self.processes.tell_failure(error)
            self.tracker.finish("FAILED")
            raise
        if self.processes.first:
            quarantined_clips = len(quarantined(config.folder))
            self.tracker.metrics({"quarantined_clips": float(quarantined_clips)})
        self.tracker.finish("FINISHED")

    def finish(self, folder: Path, record: dict[str, Any]) -> None:
        """Put on record that the stage in `folder` is done. Collective."""
        if self.processes.first:
            write_text(folder / DONE, json.dumps(record, indent=2))
        self.processes.barrier()  # for what the first one wrote
