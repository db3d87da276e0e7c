"""The training loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.optim.lr_scheduler import ReduceLROnPlateau

from bsou_dist.engine.caching import CachedStep
from bsou_dist.engine.checkpoint import BEST, LAST, Checkpoint, save_checkpoint, take_checkpoint
from bsou_dist.engine.processes import Processes
from bsou_dist.engine.progress import StepBar
from bsou_dist.engine.protocol import Engine
from bsou_dist.engine.step import train_step, validate
from bsou_dist.feed.protocol import Feed
from bsou_dist.objective.on_batches import Objective

Report = Callable[[dict[str, float], int], None]
"""Takes named values and the number of optimizer steps done."""


@dataclass(frozen=True)
class Fit:
    """What a stage trains with; `schedule` lowers the learning rate when the validation loss stops falling."""

    engine: Engine
    train_feed: Feed
    valid_feed: Feed
    objective: Objective
    schedule: ReduceLROnPlateau
    epochs: int
    seed: int
    folder: Path
    facts: dict[str, Any]
    name: str
    cached: CachedStep | None = None

    def run(self, processes: Processes, report: Report, start: Checkpoint | None = None) -> float:
        """Train up to `epochs`, keeping the last and the best checkpoint in `folder`. Collective.

        `start` is the checkpoint that the engine's weights and moments came from. Returns the best validation loss.
        """
        first, best = (start.epoch, start.best_loss) if start else (0, float("inf"))
        if start:
            self.schedule.load_state_dict(start.schedule)
            for group, rate in zip(self.engine.optimizer.param_groups, self.schedule.get_last_lr(), strict=True):
                group["lr"] = rate  # the schedule restores what it has seen, not what it has done
        steps = self.train_feed.steps()
        unit = "clip" if self.train_feed.dataset.slots == 1 else "exam"
        with StepBar(self.name, unit=unit, total=self.epochs * steps, done=first * steps, shown=processes.first) as bar:
            for epoch in range(first, self.epochs):
                began, losses = time.perf_counter(), 0.0
                for batch in self.train_feed.epoch(epoch):
                    loss = train_step(self.engine, batch, self.objective, seed=self.seed, rank=processes.rank,
                                      cached=self.cached)
                    losses += loss
                    bar.step(loss, self.train_feed.global_batch, batch.data_wait_s)
                    report({"train/loss": loss, "train/data_wait_s": batch.data_wait_s}, epoch * steps + batch.step + 1)
                trained_s = time.perf_counter() - began
                checkpoint = take_checkpoint(self.engine, {}, epoch=epoch + 1, best_loss=best, facts=self.facts)
                valid_loss = validate(self.engine, self.valid_feed, self.objective)
                self.schedule.step(valid_loss)
                improved = valid_loss < best
                best = min(best, valid_loss)
                checkpoint.schedule, checkpoint.best_loss = self.schedule.state_dict(), best
                paths = [self.folder / name for name, due in ((BEST, improved), (LAST, True)) if due]
                save_checkpoint(checkpoint, paths, processes)
                report({"train/epoch_loss": losses / steps, "valid/loss": valid_loss, "epoch_s": trained_s,
                        "learning_rate": self.engine.optimizer.param_groups[0]["lr"]}, (epoch + 1) * steps)
                bar.epoch(epoch + 1, losses / steps, valid_loss, last=epoch + 1 == self.epochs)
        return best
