"""Stage 1: an encoder from all labels at once ([P1] 3.2)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from bsou_dist.engine.caching import CachedStep
from bsou_dist.engine.optim.freezing import check_names
from bsou_dist.experiment.config import PretrainConfig
from bsou_dist.experiment.context import Context
from bsou_dist.experiment.methods import METHODS, stage1_encoders
from bsou_dist.experiment.probe import NeighbourProbe, make_probe
from bsou_dist.experiment.stage import train_stage
from bsou_dist.feed.loader import Loader
from bsou_dist.feed.order.make import OrderConfig
from bsou_dist.model.encoder import build_encoder
from bsou_dist.model.network import PretrainNetwork
from bsou_dist.objective.batch_objectives import PlansAhead
from bsou_dist.tasks.task import Task

SPLIT_COLUMN = "split_stage1"


def check_pretrain(context: Context, stage: PretrainConfig) -> list[str]:
    """Check that stage 1 can be done; sentences about the weights that it starts from.

    Raises:
        InputError: a task without labels, too few clips, no weights, names of parameters that there
            are not.
    """
    notes = []
    for names in stage1_encoders(stage).values():
        network = prepare(context, stage, names).network
        check_names(network, stage.optim)
        report = network.encoder.report
        if report:
            notes.append(str(report))
    return list(dict.fromkeys(notes))


def pretrain(context: Context, stage: PretrainConfig) -> None:
    """Make every encoder of the method that is not there yet, each in a folder of its own name."""
    for encoder, names in stage1_encoders(stage).items():
        if context.finished(context.config.folder / encoder) is None:
            _pretrain_one(context, stage, encoder, names)


def _pretrain_one(context: Context, stage: PretrainConfig, encoder: str, names: list[str]) -> None:
    folder = context.config.folder / encoder
    folder.mkdir(parents=True, exist_ok=True)
    prepared = prepare(context, stage, names)
    tasks = [task.model_dump(mode="json") for task in prepared.tasks]
    objective = METHODS[stage.method].objective(stage, names)
    if isinstance(objective, PlansAhead):
        prepared.train_feed.planner = objective.plan
        prepared.valid_feed.planner = objective.plan
    with context.tracked(encoder, folder, stage=1, tasks=prepared.tasks, parent=None) as run:
        best_loss = train_stage(
            context,
            stage,
            folder,
            name=encoder,
            network=prepared.network,
            objective=objective,
            train_feed=prepared.train_feed,
            valid_feed=prepared.valid_feed,
            metadata={"stage": 1, "tasks": tasks},
            cached=_cached(stage, context.processes.world),
            probe=prepared.probe,
            probe_every=stage.probe.every_epochs if stage.probe else 1,
        )
    context.finish(folder, {"best_valid_loss": best_loss, "tracking_run": run})


@dataclass(frozen=True)
class PreparedStage1:
    """What one encoder of stage 1 is trained with."""

    network: PretrainNetwork
    tasks: list[Task]
    """With the classes that clips are compared by; of a regression, its bins."""
    train_feed: Loader
    valid_feed: Loader
    probe: NeighbourProbe | None


def prepare(context: Context, stage: PretrainConfig, names: list[str]) -> PreparedStage1:
    """Make a fresh network, the training feed and the validation feed for some tasks.

    Raises:
        InputError: a task without labels or without classes, too few clips, no weights.
    """
    config, method, corpus = context.config, METHODS[stage.method], context.corpus
    known = config.tasks.by_name
    tasks = [known[name] for name in names]
    labelled = tasks if method.uses_labels else []
    corpus.require(labelled, SPLIT_COLUMN, ("train", "valid"))
    if method.uses_labels or stage.probe:
        train_rows = corpus.rows(SPLIT_COLUMN, "train")
        tasks = [task.for_stage1(corpus.labels(task)[train_rows]) for task in tasks]
    if method.uses_labels:
        labelled = tasks
    train = corpus.clips(SPLIT_COLUMN, "train", with_balanced(labelled, stage.order, known))
    # Shuffled, or the positives in a batch would mostly be other clips of the same exam.
    valid = corpus.clips(SPLIT_COLUMN, "valid", labelled, shuffled=True)
    train_pixels = context.pixels(train, views=method.views, augment=config.augment)
    # Without augmentation the two views of a clip would be one.
    valid_augment = config.augment if method.views > 1 else None
    valid_pixels = context.pixels(valid, views=method.views, augment=valid_augment)
    train_feed = context.loader(
        train, train_pixels, global_batch=stage.global_batch, training=True, order=stage.order
    )
    valid_feed = context.loader(
        valid, valid_pixels, global_batch=stage.global_batch, training=False
    )
    torch.manual_seed(config.seed)
    encoder = build_encoder(config.encoder, frames=config.feed.frames, size_px=config.feed.size_px)
    network = PretrainNetwork(encoder, method.heads(tasks, encoder.dim))
    probe = None
    if stage.probe:
        probe = make_probe(context, stage.probe, tasks, encoder, SPLIT_COLUMN)
    return PreparedStage1(network, tasks, train_feed, valid_feed, probe)


def with_balanced(
    tasks: Sequence[Task], order: OrderConfig, known: Mapping[str, Task]
) -> list[Task]:
    """Tasks whose labels a training set needs: the order may balance the classes of one more."""
    names = [task.name for task in tasks]
    if order.by is None or order.by in names:
        return list(tasks)
    return [*tasks, known[order.by]]


def _cached(stage: PretrainConfig, world: int) -> CachedStep | None:
    if stage.cache_rows is None:
        return None
    rows = (
        math.ceil(stage.global_batch / world) * METHODS[stage.method].views
    )  # of the rank that has most
    return CachedStep(stage.cache_rows, math.ceil(rows / stage.cache_rows))
