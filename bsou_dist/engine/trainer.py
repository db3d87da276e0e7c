"""The training loop."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any

from torch.optim.lr_scheduler import ReduceLROnPlateau

from bsou_dist.engine.caching import CachedStep
from bsou_dist.engine.checkpoint import (
    Checkpoint,
    CheckpointConfig,
    CheckpointFailed,
    Checkpoints,
    take_checkpoint,
)
from bsou_dist.engine.processes import Processes
from bsou_dist.engine.progress import StepBar
from bsou_dist.engine.protocol import Engine
from bsou_dist.engine.step import train_step, validate
from bsou_dist.engine.stopping import Stopped
from bsou_dist.feed.batch import Batch
from bsou_dist.feed.protocol import Feed
from bsou_dist.objective.batch_objectives import Objective

Report = Callable[[dict[str, float], int], None]
"""Takes named values and the number of optimizer steps done."""
GO_ON, SAVE = 0, 1
"""What ranks vote for after a step; to stop is voted for by the number of a signal, which is
larger.
"""


@dataclass(frozen=True)
class Trainer:
    """What a stage trains with; `schedule` lowers the learning rate when the validation loss stops
    falling.
    """

    engine: Engine
    train_feed: Feed
    valid_feed: Feed
    objective: Objective
    schedule: ReduceLROnPlateau
    epochs: int
    seed: int
    checkpoints: Checkpoints
    saving: CheckpointConfig
    metadata: dict[str, Any]
    name: str
    cached: CachedStep | None = None

    def run(self, processes: Processes, report: Report, start: Checkpoint | None = None) -> float:
        """Train up to `epochs`, keeping checkpoints. Collective.

        `start` is the checkpoint that the engine's weights and moments came from. Returns the best
        validation loss.

        Raises:
            Stopped: by a signal, once it is saved.
            CheckpointFailed: at the end of an epoch or where asked to stop; within an epoch it is
                only said.
        """
        first, step, losses, best = 0, 0, 0.0, float("inf")
        if start:
            first, step, losses, best = start.epoch, start.step, start.losses, start.best_loss
            self.schedule.load_state_dict(start.schedule)
            for group, rate in zip(
                self.engine.optimizer.param_groups, self.schedule.get_last_lr(), strict=True
            ):
                group["lr"] = rate  # the schedule restores what it has seen, not what it has done
        steps = self.train_feed.steps()
        unit = "clip" if self.train_feed.dataset.slots == 1 else "exam"
        with (
            StepBar(
                self.name,
                unit=unit,
                total=self.epochs * steps,
                done=first * steps + step,
                shown=processes.first,
            ) as bar,
            closing(self._batches(processes, first, step)) as batches,
        ):
            for epoch in range(first, self.epochs):
                began = saved = time.perf_counter()
                waited_s = 0.0
                for batch in islice(batches, steps - step):
                    loss = train_step(
                        self.engine,
                        batch,
                        self.objective,
                        seed=self.seed,
                        rank=processes.rank,
                        cached=self.cached,
                    )
                    step, losses, waited_s = (
                        batch.step + 1,
                        losses + loss,
                        waited_s + batch.data_wait_s,
                    )
                    bar.step(loss, self.train_feed.global_batch, batch.data_wait_s)
                    report(
                        {"train/loss": loss, "train/data_wait_s": batch.data_wait_s},
                        epoch * steps + step,
                    )
                    due = processes.first and self._due(step, time.perf_counter() - saved)
                    choice = processes.all_reduce_max(
                        processes.signals.received or (SAVE if due else GO_ON)
                    )
                    if choice > SAVE:
                        self._save(
                            processes, self._take(epoch, step, losses, best), epoch * steps + step
                        )
                        raise Stopped(signal.Signals(choice))
                    if choice == SAVE:
                        self._try_to_save(
                            processes, self._take(epoch, step, losses, best), epoch * steps + step
                        )
                        saved = time.perf_counter()
                processes.at(f"{self.name}, validation: waiting for data")
                trained_s = time.perf_counter() - began
                waited_us = processes.all_reduce_max(
                    round(1e6 * waited_s)
                )  # the others wait for the one that waited longest
                checkpoint = self._take(epoch + 1, 0, 0.0, best)
                try:
                    valid_loss = validate(
                        self.engine, self.valid_feed, self.objective, processes, self.name
                    )
                except Stopped:
                    checkpoint.epoch, checkpoint.step, checkpoint.losses = epoch, steps, losses
                    self._save(processes, checkpoint, (epoch + 1) * steps)
                    raise
                self.schedule.step(valid_loss)
                improved = valid_loss < best
                best = min(best, valid_loss)
                checkpoint.schedule, checkpoint.best_loss = self.schedule.state_dict(), best
                self._save(processes, checkpoint, (epoch + 1) * steps, best=improved)
                report(
                    {
                        "train/epoch_loss": losses / steps,
                        "train/data_wait_share": 1e-6 * waited_us / trained_s,
                        "valid/loss": valid_loss,
                        "epoch_s": trained_s,
                        "learning_rate": self.engine.optimizer.param_groups[0]["lr"],
                    },
                    (epoch + 1) * steps,
                )
                bar.epoch(epoch + 1, losses / steps, valid_loss, last=epoch + 1 == self.epochs)
                step, losses = 0, 0.0
        processes.at(None)
        return best

    def _batches(self, processes: Processes, epoch: int, step: int) -> Generator[Batch, None, None]:
        """Those of all epochs, from `step` of `epoch` on; the watchdog hears whether data are
        waited for or the step is under way.
        """
        steps = self.train_feed.steps()
        done = epoch * steps + step
        upcoming = self.train_feed.epochs(epoch, self.epochs, step)
        while True:
            where = f"{self.name}, epoch {done // steps + 1}, step {done % steps + 1}"
            processes.at(f"{where}: waiting for data")
            if (batch := next(upcoming, None)) is None:
                return
            processes.at(f"{where}: the training step")
            yield batch
            done += 1

    def _due(self, step: int, since_s: float) -> bool:
        every = self.saving.every_steps
        return since_s > 60 * self.saving.every_minutes or (every is not None and step % every == 0)

    def _take(self, epoch: int, step: int, losses: float, best: float) -> Checkpoint:
        return take_checkpoint(
            self.engine,
            self.schedule.state_dict(),
            epoch=epoch,
            step=step,
            losses=losses,
            best_loss=best,
            metadata=self.metadata,
        )

    def _save(
        self, processes: Processes, checkpoint: Checkpoint, steps_done: int, *, best: bool = False
    ) -> None:
        processes.at(f"{self.name}: saving after step {steps_done}")
        self.checkpoints.save(checkpoint, steps_done, processes, best=best)

    def _try_to_save(self, processes: Processes, checkpoint: Checkpoint, steps_done: int) -> None:
        """A disk that is full now may not be at the next attempt; training goes on."""
        try:
            self._save(processes, checkpoint, steps_done)
        except CheckpointFailed as error:
            if processes.first:
                print(f"note: {error}; training goes on", file=sys.stderr)
