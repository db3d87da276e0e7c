"""Stage 2: one head per task, on clips or exams, from an encoder of stage 1 ([P1] 3.2)."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch

from bsou_dist.common.errors import InputError
from bsou_dist.engine.checkpoint import BEST, load_checkpoint
from bsou_dist.engine.make import resume_engine
from bsou_dist.engine.trainer import Trainer
from bsou_dist.evaluation.evaluate import evaluate_predictions
from bsou_dist.experiment.config import FinetuneConfig, PatientSet, RunConfig
from bsou_dist.experiment.context import Context, finish
from bsou_dist.experiment.embeddings import load_encoder, stage1_embeddings
from bsou_dist.experiment.methods import encoder_for
from bsou_dist.experiment.pretrain import plateau, with_balanced
from bsou_dist.experiment.record import stage1_of
from bsou_dist.feed.dataset import ClipSet, ExamSet, missing_labels
from bsou_dist.feed.embedded import Embedded
from bsou_dist.feed.loader import Loader
from bsou_dist.feed.protocol import ClipSource
from bsou_dist.model.encoder import Encoder
from bsou_dist.model.network import TaskNetwork
from bsou_dist.objective.batch_objectives import OneTask
from bsou_dist.objective.supervised import inverse_frequency_weights
from bsou_dist.predict.forward import labels_only, predict
from bsou_dist.predict.prediction_table import read_predictions, write_predictions
from bsou_dist.tasks import TASKS, Task
from bsou_dist.tracking.records import records_to_metrics

SET_SPLIT_COLUMNS: dict[PatientSet, str] = {
    "main": "split_stage2",
    "obese": "split_obese",
    "handheld": "split_handheld",
}
SPLITS = ("train", "valid", "test")
PREDICTIONS = "predictions.parquet"


class FinetuneJob(NamedTuple):
    """One task tuned and tested on one set of patients."""

    patients: PatientSet
    task: Task
    source: str | None
    """The stage 1 that the encoder comes from; None for the initial weights."""

    @property
    def name(self) -> str:
        return f"{self.patients}/{self.task.name}"

    def folder(self, config: RunConfig) -> Path:
        return config.folder / "finetune" / f"{self.patients}-{self.task.name}"


def finetune_jobs(config: RunConfig) -> list[FinetuneJob]:
    """What stage 2 of a run does, in order."""
    assert config.finetune
    stage1 = stage1_of(config)
    return [
        FinetuneJob(patients, TASKS[task], encoder_for(stage1.pretrain, task) if stage1 else None)
        for patients in config.finetune.sets
        for task in config.finetune.tasks
    ]


def check_finetune(context: Context, stage: FinetuneConfig) -> list[str]:
    """Sentences about what stage 2 leaves out.

    Raises:
        InputError: stage 2 cannot be done, found before hours are spent: a task without labels, too
            few clips, no weights.
    """
    notes = []
    for patients in stage.sets:
        context.corpus.require(stage.tasks, SET_SPLIT_COLUMNS[patients], SPLITS)
    for job in finetune_jobs(context.config):
        if job.source is None or context.config.stage1:
            load_encoder(context, job.source)
        for split in SPLITS:
            dataset = _dataset(context, stage, job, split)
            if missing_labels(dataset.labels[job.task.name]).all():
                raise InputError(
                    f"no {job.task.level} of {job.name}, {split}, with a canonical sweep has a "
                    "label; "
                    f"fill the column {job.task.label}, change the splits, or leave the task out"
                )
            _loader(
                context,
                stage,
                job,
                dataset,
                context.pixels(dataset.clips),
                training=split == "train",
            )
            if isinstance(dataset, ExamSet) and dataset.skipped:
                notes.append(
                    f"{len(dataset.skipped)} exams of {job.name}, {split}, have no canonical "
                    "sweep and are "
                    "left out"
                )
    return notes


def finetune(context: Context, stage: FinetuneConfig) -> None:
    """Tune and test every task on every set of patients, each in a folder of its own."""
    jobs = [
        job
        for job in finetune_jobs(context.config)
        if context.finished(job.folder(context.config)) is None
    ]
    columns = [SET_SPLIT_COLUMNS[patients] for patients in stage.sets]
    sources = (
        dict.fromkeys(job.source for job in jobs if job.source) if stage.encoder == "frozen" else {}
    )
    frozen = {source: stage1_embeddings(context, source, columns) for source in sources}
    for job in jobs:
        _finetune_one(context, stage, job, frozen.get(job.source or ""))


def _finetune_one(
    context: Context, stage: FinetuneConfig, job: FinetuneJob, embeddings: pd.Series | None
) -> None:
    config, processes, task, folder = (
        context.config,
        context.processes,
        job.task,
        job.folder(context.config),
    )
    folder.mkdir(parents=True, exist_ok=True)
    sets = {split: _dataset(context, stage, job, split) for split in SPLITS}
    feeds = {
        split: _loader(
            context,
            stage,
            job,
            dataset,
            _source(context, dataset.clips, embeddings, split),
            training=split == "train",
        )
        for split, dataset in sets.items()
    }
    torch.manual_seed(config.seed)
    encoder = load_encoder(context, job.source)
    labels = torch.from_numpy(sets["train"].labels[task.name])
    network, objective = _network(task, labels, encoder, frozen=embeddings is not None)
    checkpoints = context.checkpoints(folder)
    engine, start = resume_engine(
        network,
        config.engine,
        learning_rate=stage.learning_rate,
        checkpoints=checkpoints,
        processes=processes,
    )
    parent = (
        (context.finished(context.stage1.folder / job.source) or {})
        if context.stage1 and job.source
        else {}
    )
    with context.tracked(
        job.name, folder, stage=2, task=task.name, parent=parent.get("tracking_run")
    ) as run:
        trainer = Trainer(
            engine=engine,
            train_feed=feeds["train"],
            valid_feed=feeds["valid"],
            objective=objective,
            schedule=plateau(engine.optimizer, stage.plateau),
            epochs=stage.epochs,
            seed=config.seed,
            checkpoints=checkpoints,
            saving=config.checkpoint,
            processes=processes,
            report=context.report,
            name=job.name,
            metadata={
                "stage": 2,
                "task": task.model_dump(),
                "set": job.patients,
                "source": job.source,
                "frozen": embeddings is not None,
                **context.encoder_metadata,
            },
        )
        best = trainer.run(start)
        network.load_state_dict(load_checkpoint(folder / BEST).network)
        parts = [
            predict(network, task, feeds[split], processes).assign(split=split)
            for split in ("valid", "test")
        ]
        parts.append(labels_only(task, sets["train"]).assign(split="train"))
        if processes.first:
            write_predictions(pd.concat(parts).assign(set=job.patients), folder / PREDICTIONS)
            records = evaluate_predictions(
                read_predictions(folder / PREDICTIONS), TASKS, seed=config.seed
            )
            context.tracker.metrics({"best/valid_loss": best})
            context.tracker.metrics(records_to_metrics(records))
            context.tracker.artifact(folder / PREDICTIONS)
    engine.close()
    if processes.first:
        finish(folder, {"best_valid_loss": best, "tracking_run": run})
    processes.barrier()


def _dataset(
    context: Context, stage: FinetuneConfig, job: FinetuneJob, split: str
) -> ClipSet | ExamSet:
    tasks = with_balanced([job.task.name], stage.order) if split == "train" else [job.task.name]
    clips = context.corpus.clips(SET_SPLIT_COLUMNS[job.patients], split, tasks)
    return ExamSet(clips) if job.task.level == "exam" else clips


def _source(
    context: Context, clips: ClipSet, embeddings: pd.Series | None, split: str
) -> ClipSource:
    """Pixels, augmented in training; or embeddings by a frozen encoder."""
    if embeddings is not None:
        return Embedded.of(clips, embeddings, context.processes.device)
    return context.pixels(clips, augment=context.config.augment if split == "train" else None)


def _loader(
    context: Context,
    stage: FinetuneConfig,
    job: FinetuneJob,
    dataset: ClipSet | ExamSet,
    source: ClipSource,
    *,
    training: bool,
) -> Loader:
    batch = stage.global_batch
    if training:
        batch = min(batch, len(dataset))  # a small set of patients is one batch
        if batch < context.processes.world <= stage.global_batch:
            raise InputError(
                f"{job.name} has {len(dataset)} {job.task.level}s to train on, fewer than the "
                f"{context.processes.world} processes; start fewer processes, or leave it out"
            )
    return context.loader(dataset, source, global_batch=batch, training=training, order=stage.order)


def _network(
    task: Task, labels: torch.Tensor, encoder: Encoder, *, frozen: bool
) -> tuple[TaskNetwork, OneTask]:
    """A fresh head, standardised or weighted by the labels of the training split."""
    scale, weights = {}, None
    if task.kind == "regression":
        known = labels[~labels.isnan()]
        scale = {
            "target_mean": known.mean().item(),
            "target_std": known.std(correction=0).clamp(min=1e-6).item(),
        }
    else:
        weights = inverse_frequency_weights(labels, len(task.classes))
    network = TaskNetwork(task, encoder.dim, encoder=None if frozen else encoder, **scale)
    return network, OneTask(task.name, network.head, weights)
