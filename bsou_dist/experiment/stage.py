"""One network trained in one folder: what both stages do, whatever they train."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from torch import nn

from bsou_dist.engine.caching import CachedStep
from bsou_dist.engine.checkpoint import Checkpoints
from bsou_dist.engine.health import check_room
from bsou_dist.engine.make import resume_engine
from bsou_dist.engine.optim.freezing import next_thaw
from bsou_dist.engine.optim.moving_average import MovingAverage
from bsou_dist.engine.optim.schedule import Schedule
from bsou_dist.engine.profile import StepProfile
from bsou_dist.engine.saver import Saver
from bsou_dist.engine.trainer import Probe, Trainer
from bsou_dist.experiment.config import StageConfig
from bsou_dist.experiment.context import Context
from bsou_dist.feed.loader import Loader
from bsou_dist.objective.batch_objectives import Objective

TRACE = "profile.json.gz"


def train_stage(
    context: Context,
    stage: StageConfig,
    folder: Path,
    *,
    name: str,
    network: nn.Module,
    objective: Objective,
    train_feed: Loader,
    valid_feed: Loader,
    metadata: dict[str, Any],
    cached: CachedStep | None = None,
    probe: Probe | None = None,
    probe_every: int = 1,
) -> float:
    """Train a network to the end of a stage, from the newest checkpoint in `folder` if any.

    Collective. The network is left with the weights of the last step; the best are in `folder`.

    Args:
        context: the run.
        stage: how to train.
        folder: where the checkpoints lie.
        name: of what is trained, for people.
        network: a fresh one; a checkpoint replaces its weights.
        objective: the loss of its outputs.
        train_feed: batches to train on.
        valid_feed: batches whose loss steers the schedule and chooses the best weights.
        metadata: plain values that a checkpoint keeps beside the weights.
        cached: gradient caching.
        probe: chooses the best weights, else their validation loss does; every so many epochs.

    Returns:
        The best validation loss.

    Raises:
        Stopped: by a signal, once what was done is saved.
        CheckpointFailed: a checkpoint could not be written at the end of an epoch.
    """
    config = context.config
    checkpoints = Checkpoints(folder, config.checkpoint.keep)
    epochs = stage.epochs_of(train_feed.steps())
    # Of a small set of patients, a batch is smaller than the stage says.
    optim = stage.optim.scaled_to(train_feed.global_batch)
    if optim.learning_rate != stage.optim.learning_rate and context.processes.first:
        print(
            f"{name}: learning rate {optim.learning_rate:.3g}, which is "
            f"{stage.optim.learning_rate:.3g} for {stage.optim.base_batch} scaled to a global "
            f"batch of {train_feed.global_batch} ({stage.optim.scale_rate})",
            file=sys.stderr,
        )
    if context.processes.first:
        check_room(folder, network)
    profile = None
    if context.profile_steps and context.processes.first:
        profile = StepProfile(context.profile_steps, folder / TRACE)
    while True:
        engine, start = resume_engine(
            network,
            config.engine,
            optim,
            checkpoints=checkpoints,
            processes=context.processes,
        )
        trainer = Trainer(
            engine=engine,
            train_feed=train_feed,
            valid_feed=valid_feed,
            objective=objective,
            schedule=Schedule(optim, epochs=epochs, steps=train_feed.steps()),
            average=MovingAverage(network, optim.ema) if optim.ema else None,
            early_stopping=optim.early_stopping,
            epochs=epochs,
            seed=config.seed,
            saver=Saver(checkpoints, context.processes),
            saving=config.checkpoint,
            metadata={**metadata, **context.encoder_metadata},
            name=name,
            processes=context.processes,
            report=context.report,
            cached=cached,
            probe=probe,
            probe_every=probe_every,
            max_skips=config.engine.allowed_skips,
            line_every_s=config.tracking.line_every_s,
            profile=profile,
        )
        # Where parameters thaw, what an engine holds changes: it is made anew, as after a stop.
        thaw = next_thaw(optim, start.epoch if start else 0, epochs)
        end = trainer.run(start, until=thaw)
        engine.close()
        profile = None  # it has seen what it was to see
        if trainer.is_over(end):
            break
    if context.profile_steps and (folder / TRACE).is_file():
        context.tracker.artifact(folder / TRACE)
    context.tracker.metrics({"best/valid_loss": end.best_loss})
    return end.best_loss
