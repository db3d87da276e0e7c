"""Stage 2: one head per task, on clips or exams, from an encoder of stage 1 ([P1] 3.2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import torch

from bsou_dist.engine.checkpoint import BEST, load_checkpoint, resume_engine
from bsou_dist.engine.forward import labels_only, predict
from bsou_dist.engine.loop import Fit
from bsou_dist.evaluation.evaluate import evaluate_predictions
from bsou_dist.experiment.config import FinetuneConfig, PatientSet, RunConfig
from bsou_dist.experiment.context import Context, finish, finished
from bsou_dist.experiment.embeddings import cached_embeddings, load_encoder
from bsou_dist.experiment.methods import encoder_for
from bsou_dist.experiment.pretrain import plateau
from bsou_dist.feed.clips import ClipSet, ExamSet
from bsou_dist.feed.embedded import Embedded
from bsou_dist.feed.loader import Loader, Source
from bsou_dist.model.encoder import Encoder
from bsou_dist.model.network import TaskNetwork
from bsou_dist.objective.on_batches import OneTask
from bsou_dist.objective.supervised import inverse_frequency_weights
from bsou_dist.predictions import read_predictions, write_predictions
from bsou_dist.tasks import TASKS, Task
from bsou_dist.tracking.records import records_to_metrics

SPLIT_COLUMNS: dict[PatientSet, str] = {"main": "split_stage2", "obese": "split_obese", "handheld": "split_handheld"}
SPLITS = ("train", "valid", "test")
PREDICTIONS = "predictions.parquet"


def check_finetune(context: Context, stage: FinetuneConfig) -> None:
    """InputError where stage 2 cannot be done, before hours are spent: a task without labels, too few clips."""
    for set_name in stage.sets:
        context.corpus.require(stage.tasks, SPLIT_COLUMNS[set_name], SPLITS)
        for task in stage.tasks:
            for split in SPLITS:
                dataset = _dataset(context, SPLIT_COLUMNS[set_name], split, TASKS[task])
                _feed(context, stage, dataset, None, None, training=split == "train")


def finetune(context: Context, stage: FinetuneConfig) -> None:
    """Tune and test every task on every set of patients, each in a folder of its own."""
    for set_name in stage.sets:
        for task in stage.tasks:
            folder = _folder(context.config, set_name, task)
            if finished(folder) is None:
                _finetune_one(context, stage, set_name, TASKS[task], folder)


def prediction_files(config: RunConfig) -> list[Path]:
    """Where stage 2 leaves its predictions, in the order of the config."""
    assert config.finetune
    return [_folder(config, set_name, task) / PREDICTIONS
            for set_name in config.finetune.sets for task in config.finetune.tasks]


def _folder(config: RunConfig, set_name: PatientSet, task: str) -> Path:
    return config.folder / "finetune" / f"{set_name}-{task}"


def _finetune_one(context: Context, stage: FinetuneConfig, set_name: PatientSet, task: Task, folder: Path) -> None:
    config, processes = context.config, context.processes
    folder.mkdir(parents=True, exist_ok=True)
    source = encoder_for(config.pretrain, task.name) if config.pretrain else None
    parent = (finished(config.folder / source) or {}) if source else {}
    sets = {split: _dataset(context, SPLIT_COLUMNS[set_name], split, task) for split in SPLITS}
    frozen = stage.encoder == "frozen" and source is not None
    torch.manual_seed(config.seed)
    encoder = load_encoder(context, source)
    feeds = {split: _feed(context, stage, dataset, encoder if frozen else None, source, training=split == "train")
             for split, dataset in sets.items()}
    labels = torch.from_numpy(sets["train"].labels[task.name])
    network, objective = _network(task, labels, encoder, frozen)
    engine, start = resume_engine(network, config.engine, learning_rate=stage.learning_rate, folder=folder,
                                  processes=processes)
    name = f"{set_name}/{task.name}"
    with context.tracked(name, stage=2, task=task.name, parent=parent.get("tracking_run")) as run:
        facts: dict[str, Any] = {"stage": 2, "task": task.model_dump(), "set": set_name, "source": source,
                                 "encoder": config.encoder.model_dump(), "frozen": frozen}
        fit = Fit(engine=engine, train_feed=feeds["train"], valid_feed=feeds["valid"], objective=objective,
                  schedule=plateau(engine.optimizer, stage.plateau), epochs=stage.epochs, seed=config.seed,
                  precision=config.engine.precision, folder=folder, facts=facts, name=name)
        best = fit.run(processes, context.report, start)
        processes.wait()  # for the first process to have written the best checkpoint
        network.load_state_dict(load_checkpoint(folder / BEST).network)
        parts = [predict(network, task, feeds[split], processes).assign(split=split) for split in ("valid", "test")]
        parts.append(labels_only(task, sets["train"]).assign(split="train"))
        if processes.first:
            write_predictions(pd.concat(parts).assign(set=set_name), folder / PREDICTIONS)
            records = evaluate_predictions(read_predictions(folder / PREDICTIONS), TASKS, seed=config.seed)
            context.tracker.metrics({"best/valid_loss": best})
            context.tracker.metrics(records_to_metrics(records))
            context.tracker.artifact(folder / PREDICTIONS)
    if processes.first:
        finish(folder, {"best_valid_loss": best, "tracking_run": run})
    processes.wait()


def _dataset(context: Context, split_column: str, split: str, task: Task) -> ClipSet | ExamSet:
    clips = context.corpus.clips(split_column, (split,), [task.name])
    return ExamSet(clips) if task.level == "exam" else clips


def _feed(context: Context, stage: FinetuneConfig, dataset: ClipSet | ExamSet, frozen: Encoder | None,
          source: str | None, *, training: bool) -> Loader:
    """Pixels, augmented in training; or embeddings by the frozen encoder of stage 1."""
    # A small set of patients is one batch.
    batch = min(stage.global_batch, len(dataset)) if training else stage.global_batch
    if frozen is None:
        pixels: Source = context.pixels(dataset.clips, augment=context.config.augment if training else None)
    else:
        assert source is not None
        pixels = Embedded(cached_embeddings(context, frozen, source, dataset.clips), context.processes.device)
    return context.loader(dataset, pixels, global_batch=batch, training=training)


def _network(task: Task, labels: torch.Tensor, encoder: Encoder, frozen: bool) -> tuple[TaskNetwork, OneTask]:
    """A fresh head, standardised or weighted by the labels of the training split."""
    scale, weights = {}, None
    if task.kind == "regression":
        known = labels[~labels.isnan()]
        scale = {"target_mean": known.mean().item(), "target_std": known.std(correction=0).clamp(min=1e-6).item()}
    else:
        weights = inverse_frequency_weights(labels, len(task.classes))
    network = TaskNetwork(task, encoder.dim, encoder=None if frozen else encoder, **scale)
    return network, OneTask(task.name, network.head, weights)
