"""Stage 1: an encoder from all labels at once ([P1] 3.2)."""

from __future__ import annotations

import math

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from bsou_dist.engine.caching import CachedStep
from bsou_dist.engine.make import resume_engine
from bsou_dist.engine.trainer import Trainer
from bsou_dist.experiment.config import PlateauConfig, PretrainConfig
from bsou_dist.experiment.context import Context, finish
from bsou_dist.experiment.methods import METHODS, stage1_encoders
from bsou_dist.feed.loader import Loader
from bsou_dist.feed.order.make import OrderConfig
from bsou_dist.model.encoder import build_encoder
from bsou_dist.model.network import PretrainNetwork

SPLIT_COLUMN = "split_stage1"


def check_pretrain(context: Context, stage: PretrainConfig) -> None:
    """InputError where stage 1 cannot be done: a task without labels, too few clips, no weights."""
    for tasks in stage1_encoders(stage).values():
        prepare(context, stage, tasks)


def pretrain(context: Context, stage: PretrainConfig) -> None:
    """Make every encoder of the method that is not there yet, each in a folder of its own name."""
    for name, tasks in stage1_encoders(stage).items():
        if context.finished(context.config.folder / name) is None:
            _pretrain_one(context, stage, name, tasks)


def _pretrain_one(context: Context, stage: PretrainConfig, name: str, tasks: list[str]) -> None:
    config, processes = context.config, context.processes
    folder = config.folder / name
    folder.mkdir(parents=True, exist_ok=True)
    network, train_feed, valid_feed = prepare(context, stage, tasks)
    checkpoints = context.checkpoints(folder)
    engine, start = resume_engine(
        network,
        config.engine,
        learning_rate=stage.learning_rate,
        checkpoints=checkpoints,
        processes=processes,
    )
    with context.tracked(name, folder, stage=1, task="+".join(tasks), parent=None) as run:
        trainer = Trainer(
            engine=engine,
            train_feed=train_feed,
            valid_feed=valid_feed,
            objective=METHODS[stage.method].objective(stage, tasks),
            schedule=plateau(engine.optimizer, stage.plateau),
            epochs=stage.epochs,
            seed=config.seed,
            checkpoints=checkpoints,
            saving=config.checkpoint,
            metadata={"stage": 1, "tasks": tasks, **context.encoder_metadata},
            name=name,
            processes=processes,
            report=context.report,
            cached=_cached(stage, processes.world),
        )
        best = trainer.run(start)
        context.tracker.metrics({"best/valid_loss": best})
    engine.close()
    if processes.first:
        finish(folder, {"best_valid_loss": best, "tracking_run": run})
    processes.barrier()  # for what the first one wrote


def prepare(
    context: Context, stage: PretrainConfig, tasks: list[str]
) -> tuple[PretrainNetwork, Loader, Loader]:
    """A fresh network, the training feed and the validation feed."""
    config, method = context.config, METHODS[stage.method]
    labels = tasks if method.uses_labels else []
    context.corpus.require(labels, SPLIT_COLUMN, ("train", "valid"))
    train = context.corpus.clips(SPLIT_COLUMN, "train", with_balanced(labels, stage.order))
    # Shuffled, or the positives in a batch would mostly be other clips of the same exam.
    valid = context.corpus.clips(SPLIT_COLUMN, "valid", labels, shuffled=True)
    train_pixels = context.pixels(train, views=method.views, augment=config.augment)
    train_feed = context.loader(
        train, train_pixels, global_batch=stage.global_batch, training=True, order=stage.order
    )
    # Without augmentation the two views of a clip would be one.
    valid_pixels = context.pixels(
        valid, views=method.views, augment=config.augment if method.views > 1 else None
    )
    valid_feed = context.loader(
        valid, valid_pixels, global_batch=stage.global_batch, training=False
    )
    torch.manual_seed(config.seed)
    encoder = build_encoder(config.encoder, frames=config.feed.frames, size_px=config.feed.size_px)
    return PretrainNetwork(encoder, method.heads(tasks, encoder.dim)), train_feed, valid_feed


def with_balanced(tasks: list[str], order: OrderConfig) -> list[str]:
    """The tasks whose labels a training set needs: the order may balance the classes of one
    more.
    """
    return [*tasks, order.by] if order.by and order.by not in tasks else tasks


def _cached(stage: PretrainConfig, world: int) -> CachedStep | None:
    if stage.cache_rows is None:
        return None
    rows = (
        math.ceil(stage.global_batch / world) * METHODS[stage.method].views
    )  # of the rank that has most
    return CachedStep(stage.cache_rows, math.ceil(rows / stage.cache_rows))


def plateau(optimizer: torch.optim.Optimizer, config: PlateauConfig) -> ReduceLROnPlateau:
    """The schedule of [P1] 4.2."""
    return ReduceLROnPlateau(optimizer, patience=config.patience, factor=config.factor)
