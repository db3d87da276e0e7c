"""The training loop: epochs of steps, each epoch validated, saved and reported."""

from __future__ import annotations

import dataclasses
import math
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any

from bsou_dist.engine.caching import CachedStep
from bsou_dist.engine.checkpoint import (
    Checkpoint,
    CheckpointConfig,
    take_checkpoint,
)
from bsou_dist.engine.not_finite import NotFinite
from bsou_dist.engine.optim.moving_average import MovingAverage
from bsou_dist.engine.optim.schedule import Schedule
from bsou_dist.engine.processes import Processes
from bsou_dist.engine.profile import StepProfile
from bsou_dist.engine.progress import StepBar, peak_memory_gb
from bsou_dist.engine.protocol import Engine
from bsou_dist.engine.rank_times import EpochTimes, OwnTime
from bsou_dist.engine.saver import Saver
from bsou_dist.engine.step import StepOutcome, train_step, validate
from bsou_dist.engine.stopping import Stopped
from bsou_dist.engine.vote import LateVote
from bsou_dist.feed.batch import Batch
from bsou_dist.feed.protocol import Feed
from bsou_dist.objective.batch_objectives import Objective

Probe = Callable[[], float]
"""Judges the network's weights: the lower, the better. Collective, the same on every rank."""

Report = Callable[[dict[str, float], int], None]
"""Takes named values and the number of optimizer steps done."""

GO_ON, SAVE, SAVING_FAILED = 0, 1, 1000
"""What a rank wants after a step. A rank that was asked to stop wants the number of the signal,
which lies between the last two; the largest wish of all ranks is what they all do after the step
that follows.
"""


@dataclass
class TrainState:
    """Where training stands: what a checkpoint restores beside weights, moments and schedule."""

    epoch: int = 0
    step: int = 0
    """Steps done in `epoch`; where it equals the epoch's steps, only validation is left of it."""
    losses: float = 0.0
    """Sum of the training losses of those steps."""
    best_loss: float = math.inf
    """Lowest validation loss so far."""
    best: float = math.inf
    """Lowest value so far by which weights are chosen: the probe's, or else the validation loss."""
    since_best: int = 0
    """Epochs since then."""
    skipped: int = 0
    """Those of the steps done in `epoch` that were passed over, since something was not finite."""


@dataclass(frozen=True)
class Trainer:
    """All that a stage trains with.

    `schedule` moves the learning rate. The best weights are those of the lowest validation loss, or
    where there is a `probe`, of its lowest value; it judges every so many epochs, and the last one.
    After `early_stopping` epochs without better weights the stage ends, whatever `epochs` says.
    Where there is an `average` of the weights, it is what is validated and kept as the best.
    """

    engine: Engine
    train_feed: Feed
    valid_feed: Feed
    objective: Objective
    schedule: Schedule
    epochs: int
    seed: int
    saver: Saver
    saving: CheckpointConfig
    metadata: dict[str, Any]
    name: str
    processes: Processes
    report: Report
    cached: CachedStep | None = None
    early_stopping: int | None = None
    average: MovingAverage | None = None
    probe: Probe | None = None
    probe_every: int = 1
    max_skips: int = 0
    """How many batches of an epoch may be passed over because loss or gradient is not finite."""
    line_every_s: float = 60.0
    """Seconds between two lines about training, where output is no terminal."""
    profile: StepProfile | None = None

    def run(self, start: Checkpoint | None = None, until: int | None = None) -> TrainState:
        """Train up to `epochs`, or only `until` as many are done, keeping checkpoints. Collective.

        `start` is the checkpoint that the engine's weights and moments came from.

        Raises:
            NotFinite: a loss or a gradient, of more batches than may be passed over.
            Stopped: by a signal, once what was done is saved.
            CheckpointFailed: of the end of an epoch, once that is known, or where asked to stop;
                of one within an epoch it is only said.
        """
        state = self.restore(start)
        bar = self._progress_bar(state)
        batches = self._batches(state.epoch, state.step)
        own_time = OwnTime(self.engine.network, self.processes.device)
        with bar, closing(batches), self.saver, own_time, self.profile or nullcontext():
            while not self.is_over(state) and state.epoch != until:
                times = self.train_epoch(state, batches, bar, own_time)
                # Before validation, which must see the batch-norm statistics that this averages.
                checkpoint = self.take_checkpoint(state)
                valid_loss, value = self.validate(state, checkpoint)
                self.after_epoch(state, checkpoint, times, valid_loss, value, bar)
            self.saver.finish()
        self.processes.at(None)
        return state

    def restore(self, start: Checkpoint | None) -> TrainState:
        """The first step, or where `start` was taken, with its schedule and learning rate."""
        if start is None:
            return TrainState()
        self.schedule.restore(start.schedule)
        if self.average:
            self.average.restore(start.averages)
        return TrainState(
            start.epoch,
            start.step,
            start.losses,
            start.best_loss,
            start.best,
            start.since_best,
            start.skipped,
        )

    def train_epoch(
        self, state: TrainState, batches: Iterator[Batch], bar: StepBar, own_time: OwnTime
    ) -> EpochTimes:
        """Take the steps that are left of an epoch; save where it is due, or stop. Collective."""
        began = saved = time.perf_counter()
        first_step = state.step
        waited_s = 0.0
        vote = LateVote(self.processes)
        for batch in islice(batches, self.train_feed.steps() - state.step):
            self.schedule.set_rates(self.engine.optimizer, self._steps_done(state))
            outcome = self.step_or_skip(state, batch)
            state.step = batch.step + 1
            waited_s += batch.data_wait_s
            values = {"train/data_wait_s": batch.data_wait_s}
            loss = None
            if outcome:
                loss = outcome.loss
                state.losses += loss
                if self.average:
                    self.average.update(self._steps_done(state))
                values["train/loss"] = loss
                values["train/gradient_norm"] = outcome.gradient_norm
            bar.step(loss, self.train_feed.global_batch, batch.data_wait_s)
            values["train/clips_read_ahead"] = float(batch.clips_read_ahead)
            values |= _learning_rates(self.engine)
            self.report(values, self._steps_done(state))
            if self.profile:
                self.profile.step()
            if self.save_or_stop(state, vote, since_saved_s=time.perf_counter() - saved):
                saved = time.perf_counter()
        # Whatever it says happens in any case: validation looks at signals, and what follows saves.
        vote.outcome()
        self.processes.at(f"{self.name}, validation: waiting for data")
        trained_s = time.perf_counter() - began
        of_ranks = self.processes.gather((waited_s, own_time.take_s()))
        waits_s, forwards_s = map(list, zip(*of_ranks, strict=True))
        return EpochTimes(state.step - first_step, trained_s, waits_s, forwards_s)

    def step_or_skip(self, state: TrainState, batch: Batch) -> StepOutcome | None:
        """Take a step; or say why not and pass over the batch, where that is allowed. Collective.

        Raises:
            NotFinite: the loss or its gradient is not finite, and `max_skips` batches of the epoch
                were passed over before.
        """
        try:
            return train_step(
                self.engine,
                batch,
                self.objective,
                seed=self.seed,
                rank=self.processes.rank,
                cached=self.cached,
                keep_buffers=self.max_skips > 0,
            )
        except NotFinite as fault:
            if state.skipped >= self.max_skips:
                raise
            state.skipped += 1
            if self.processes.first:
                count = f"{state.skipped} of at most {self.max_skips} in an epoch"
                print(f"note: {fault}; passed over ({count})", file=sys.stderr)
            return None

    def save_or_stop(self, state: TrainState, vote: LateVote, since_saved_s: float) -> bool:
        """After a step: save where it is due, or save and stop. Collective.

        Steps are counted by every rank alike, so that a checkpoint every so many steps is saved at
        once. What one rank alone knows, the first one's clock or a signal, all ranks hear through
        `vote`, and do what they heard of the step before. Returns whether there was an attempt to
        save.
        """
        decision = vote.outcome()
        if self._is_due_by_steps(state.step):
            decision = max(decision, SAVE)
        if decision == SAVING_FAILED:
            self.saver.finish()
        if decision > SAVE:
            self.save(self.take_checkpoint(state))
            self.saver.finish()
            raise Stopped(signal.Signals(decision))
        if decision == SAVE:
            checkpoint = self.take_checkpoint(state)
            self.saver.begin(checkpoint, self._steps_done(state), must=False)
        due_by_time = decision == GO_ON and since_saved_s > 60 * self.saving.every_minutes
        wish = SAVE if self.processes.first and due_by_time else GO_ON
        if self.saver.failed:
            wish = SAVING_FAILED
        vote.cast(max(self.processes.signals.received, wish))
        return decision == SAVE

    def validate(self, state: TrainState, checkpoint: Checkpoint) -> tuple[float, float]:
        """The validation loss, and the value by which weights are chosen; infinite without a probe
        where one is due later. Collective.

        Where stopped, `checkpoint` is saved: its epoch is trained, and only validation is left of
        it.
        """
        epoch = state.epoch + 1
        is_due = epoch % self.probe_every == 0 or epoch == self.epochs
        try:
            with self.average.in_place() if self.average else nullcontext():
                loss = validate(
                    self.engine, self.valid_feed, self.objective, self.processes, self.name
                )
                if self.probe is None:
                    return loss, loss
                return loss, self.probe() if is_due else math.inf
        except Stopped:
            self.save(checkpoint)
            self.saver.finish()
            raise

    def after_epoch(
        self,
        state: TrainState,
        checkpoint: Checkpoint,
        times: EpochTimes,
        valid_loss: float,
        value: float,
        bar: StepBar,
    ) -> None:
        """Steer the schedule, move on to the next epoch, report, save. Collective.

        `checkpoint` has the weights of the trained epoch, which validation has left alone; `value`
        is what they are chosen by.
        """
        self.schedule.epoch_done(valid_loss)
        improved = value < state.best
        steps_taken = self.train_feed.steps() - state.skipped
        train_loss = state.losses / max(steps_taken, 1)

        state.epoch += 1
        state.step = 0
        state.losses = 0.0
        skipped, state.skipped = state.skipped, 0
        state.best_loss = min(state.best_loss, valid_loss)
        state.best = min(state.best, value)
        state.since_best = 0 if improved else state.since_best + 1

        values = {
            "train/epoch_loss": train_loss,
            "train/skipped_batches": skipped,
            "valid/loss": valid_loss,
            "learning_rate": self.schedule.rate(self._steps_done(state)),
            "memory_gb" if self.processes.device == "cpu" else "gpu_memory_gb": peak_memory_gb(
                self.processes.device
            ),
            **times.values(self.train_feed.global_batch, self._unit()),
        }
        if self.probe and math.isfinite(value):
            values["valid/probe"] = value
        # Before the checkpoint: a run that is killed in between reports the epoch again, which its
        # tracker knows by the number of steps; the other way round the report would be lost.
        self.report(values, self._steps_done(state))
        validated = dataclasses.replace(checkpoint, schedule=self.schedule.state(), **vars(state))
        self.save(validated, best=improved)
        bar.epoch(state.epoch, train_loss, valid_loss, last=self.is_over(state))
        if self.is_over(state) and state.epoch < self.epochs and self.processes.first:
            print(
                f"note: {self.name} ends after epoch {state.epoch} of {self.epochs}: "
                f"{'the probe' if self.probe else 'the validation loss'} has not fallen below "
                f"{state.best:.4f} for {state.since_best} epochs (optim.early_stopping)",
                file=sys.stderr,
            )

    def take_checkpoint(self, state: TrainState) -> Checkpoint:
        """A checkpoint of the weights, the optimizer, the schedule and `state`. Collective."""
        self.processes.at(f"{self.name}: saving after step {self._steps_done(state)}")
        self.saver.wait()  # or memory would have to hold three copies of the weights
        averages = self.average.state() if self.average and self.processes.first else {}
        return take_checkpoint(
            self.engine,
            self.schedule.state(),
            averages,
            **vars(state),
            metadata=self.metadata,
            keep=self.processes.first,
        )

    def save(self, checkpoint: Checkpoint, *, best: bool = False) -> None:
        """Begin to write a checkpoint that has to be written, named after its steps. Collective.

        Raises:
            CheckpointFailed: the last one of this kind could not be written.
        """
        self.saver.finish()
        self.saver.begin(checkpoint, self._steps_done(checkpoint), best=best)

    def _batches(self, epoch: int, step: int) -> Generator[Batch, None, None]:
        """Batches of all epochs, from `step` of `epoch` on.

        One iterator for all, so that the feed makes batches ahead across the ends of epochs. The
        watchdog hears whether data are waited for or the step is under way.
        """
        steps = self.train_feed.steps()
        done = epoch * steps + step
        upcoming = self.train_feed.epochs(epoch, self.epochs, step)
        while True:
            where = f"{self.name}, epoch {done // steps + 1}, step {done % steps + 1}"
            self.processes.at(f"{where}: waiting for data")
            batch = next(upcoming, None)
            if batch is None:
                return
            self.processes.at(f"{where}: the training step")
            yield batch
            done += 1

    def _progress_bar(self, state: TrainState) -> StepBar:
        return StepBar(
            self.name,
            unit=self._unit(),
            total=self.epochs * self.train_feed.steps(),
            done=self._steps_done(state),
            shown=self.processes.first,
            line_every_s=self.line_every_s,
            device=self.processes.device,
        )

    def _unit(self) -> str:
        """What a batch is made of."""
        return "clip" if self.train_feed.dataset.slots == 1 else "exam"

    def _steps_done(self, at: TrainState | Checkpoint) -> int:
        """Optimizer steps from the beginning of the stage."""
        return at.epoch * self.train_feed.steps() + at.step

    def is_over(self, state: TrainState) -> bool:
        """Whether the stage has ended, by its number of epochs or early."""
        too_long = self.early_stopping is not None and state.since_best >= self.early_stopping
        return too_long or state.epoch >= self.epochs

    def _is_due_by_steps(self, step: int) -> bool:
        """Whether it is time for a checkpoint within an epoch by the number of steps."""
        every_steps = self.saving.every_steps
        return every_steps is not None and step % every_steps == 0


def _learning_rates(engine: Engine) -> dict[str, float]:
    """The rate of the last step; where groups of parameters have their own, the lowest too."""
    rates = [group["lr"] for group in engine.optimizer.param_groups]
    values = {"train/learning_rate": max(rates)}
    if min(rates) < max(rates):
        values["train/lowest_learning_rate"] = min(rates)
    return values
