"""Stage 2: one head per task, on clips or exams, from an encoder of stage 1 ([P1] 3.2)."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch

from bsou_dist.common.errors import InputError
from bsou_dist.engine.checkpoint import BEST, read_for_all
from bsou_dist.engine.optim.freezing import check_names
from bsou_dist.evaluation.aggregate import is_for_calibration
from bsou_dist.evaluation.evaluate import evaluate_predictions
from bsou_dist.evaluation.kinds.make import evaluation_of
from bsou_dist.evaluation.reference import INTENSITY_ONLY, intensity_predictions
from bsou_dist.experiment.config import FinetuneConfig, PatientSet, RunConfig
from bsou_dist.experiment.context import Context
from bsou_dist.experiment.embeddings import load_encoder, stage1_embeddings
from bsou_dist.experiment.intensity import intensity_features
from bsou_dist.experiment.pretrain import with_balanced
from bsou_dist.experiment.record import Stage1Run
from bsou_dist.experiment.stage import train_stage
from bsou_dist.feed.dataset import ClipSet, ExamSet
from bsou_dist.feed.embedded import Embedded
from bsou_dist.feed.loader import Loader
from bsou_dist.feed.protocol import ClipSource
from bsou_dist.model.encoder import build_encoder
from bsou_dist.model.network import TaskNetwork
from bsou_dist.objective.kinds.make import make_loss
from bsou_dist.predict.forward import labels_only, predict
from bsou_dist.predict.prediction_table import (
    AGE_COLUMN,
    read_predictions,
    with_ages_in_weeks,
    write_predictions,
)
from bsou_dist.tasks.labels import is_missing
from bsou_dist.tasks.task import Task
from bsou_dist.tracking.records import records_to_metrics

SET_SPLIT_COLUMNS: dict[PatientSet, str] = {
    "main": "split_stage2",
    "obese": "split_obese",
    "handheld": "split_handheld",
}
SPLITS = ("train", "valid", "test")
PREDICTIONS = "predictions.parquet"
INTENSITY_PREDICTIONS = "intensity_only.parquet"
"""What is predicted of the same units without a network."""


class FinetuneJob(NamedTuple):
    """One task tuned and tested on one set of patients."""

    patients: PatientSet
    task: Task
    source: str | None
    """Name of the stage 1 encoder that it starts from; None for the initial weights."""
    folder: Path

    @property
    def name(self) -> str:
        return f"{self.patients}/{self.task.name}"


def finetune_jobs(config: RunConfig, stage1: Stage1Run | None) -> list[FinetuneJob]:
    """List what stage 2 of a run does, in order."""
    assert config.finetune
    jobs = []
    for patients in config.finetune.sets:
        for name in config.finetune.tasks:
            task = config.tasks.by_name[name]
            source = stage1.encoder_for(task) if stage1 else None
            folder = config.folder / "finetune" / f"{patients}-{name}"
            jobs.append(FinetuneJob(patients, task, source, folder))
    return jobs


def check_finetune(context: Context, stage: FinetuneConfig) -> list[str]:
    """Check that stage 2 can be done, before hours are spent.

    Returns sentences about what it leaves out and about the weights that it starts from.

    Raises:
        InputError: a task without labels, too few clips, no weights, names of parameters that there
            are not.
    """
    notes = []
    tasks = [context.config.tasks.by_name[name] for name in stage.tasks]
    for patients in stage.sets:
        context.corpus.require(tasks, SET_SPLIT_COLUMNS[patients], SPLITS)
    for job in finetune_jobs(context.config, context.stage1):
        if job.source is None or context.config.stage1:
            report = load_encoder(context, job.source).report
            if report and str(report) not in notes:
                notes.append(str(report))
        for split in SPLITS:
            dataset = _dataset(context, stage, job, split)
            if is_missing(dataset.labels[job.task.name]).all():
                raise InputError(
                    f"no {job.task.level} of {job.name}, {split}, with a canonical sweep has a "
                    f"label; fill the column {job.task.label}, change the splits, or leave the "
                    "task out"
                )
            pixels = context.pixels(dataset.clips)
            _loader(context, stage, job, dataset, pixels, training=split == "train")
            if isinstance(dataset, ExamSet) and dataset.skipped:
                notes.append(
                    f"{len(dataset.skipped)} exams of {job.name}, {split}, have no canonical sweep "
                    "and are left out"
                )
    if stage.optim.names_parameters:
        _check_names(context, stage)
    return notes


def _check_names(context: Context, stage: FinetuneConfig) -> None:
    """InputError where `stage.optim` names parameters that a job's network will not have."""
    config = context.config
    encoder = build_encoder(
        config.encoder.model_copy(update={"weights": "none", "key_map": {}}),
        frames=config.feed.frames,
        size_px=config.feed.size_px,
    )
    for job in finetune_jobs(config, context.stage1):
        is_frozen = stage.encoder == "frozen" and job.source is not None
        network = TaskNetwork(
            job.task,
            encoder.dim,
            encoder=None if is_frozen else encoder,
            train_labels=_dataset(context, stage, job, "train").labels[job.task.name],
        )
        check_names(network, stage.optim)


def finetune(context: Context, stage: FinetuneConfig) -> None:
    """Tune and test every task on every set of patients, each in a folder of its own."""
    jobs = [
        job
        for job in finetune_jobs(context.config, context.stage1)
        if context.finished(job.folder) is None
    ]
    embeddings_of: dict[str, pd.Series] = {}
    if stage.encoder == "frozen":
        columns = [SET_SPLIT_COLUMNS[patients] for patients in stage.sets]
        for source in dict.fromkeys(job.source for job in jobs if job.source):
            embeddings_of[source] = stage1_embeddings(context, source, columns)
    intensities = None
    if jobs and stage.intensity_only:
        columns = [SET_SPLIT_COLUMNS[patients] for patients in stage.sets]
        intensities = intensity_features(context, columns)
    for job in jobs:
        _finetune_one(context, stage, job, embeddings_of.get(job.source or ""), intensities)


def _finetune_one(
    context: Context,
    stage: FinetuneConfig,
    job: FinetuneJob,
    embeddings: pd.Series | None,
    intensities: pd.DataFrame | None,
) -> None:
    """Tune one head and predict; `embeddings` of a frozen encoder stand in for pixels.

    From `intensities` the same units are predicted without a network, on the first process.
    """
    task, folder = job.task, job.folder
    folder.mkdir(parents=True, exist_ok=True)
    sets = {split: _dataset(context, stage, job, split) for split in SPLITS}
    feeds: dict[str, Loader] = {}
    for split, dataset in sets.items():
        source = _source(context, dataset.clips, embeddings, split)
        training = split == "train"
        feeds[split] = _loader(context, stage, job, dataset, source, training=training)
    selection = selection_set(task, sets["valid"])
    source = _source(context, selection.clips, embeddings, "valid")
    selection_feed = _loader(context, stage, job, selection, source, training=False)
    torch.manual_seed(context.config.seed)
    encoder = load_encoder(context, job.source)
    train_labels = sets["train"].labels[task.name]
    network = TaskNetwork(
        task,
        encoder.dim,
        encoder=encoder if embeddings is None else None,
        train_labels=train_labels,
    )
    metadata = {
        "stage": 2,
        "task": task.model_dump(mode="json"),
        "set": job.patients,
        "source": job.source,
        "frozen": embeddings is not None,
    }
    parent = _tracking_run_of_stage1(context, job)
    with context.tracked(job.name, folder, stage=2, tasks=[task], parent=parent) as run:
        best_loss = train_stage(
            context,
            stage,
            folder,
            name=job.name,
            network=network,
            objective=make_loss(task, network.head, train_labels),
            train_feed=feeds["train"],
            valid_feed=selection_feed,
            metadata=metadata,
        )
        network.load_state_dict(read_for_all(folder / BEST, context.processes).network)
        rows = []
        for split in ("valid", "test"):
            found = predict(network, task, feeds[split], context.processes, context.config.engine)
            if found is not None:
                rows.append(found.assign(split=split))
        if context.processes.first:
            rows.append(labels_only(task, sets["train"]).assign(split="train"))
            predictions = pd.concat(rows).assign(set=job.patients)
            _record_predictions(context, job, predictions, intensities)
    context.finish(folder, {"best_valid_loss": best_loss, "tracking_run": run})


def _record_predictions(
    context: Context, job: FinetuneJob, rows: pd.DataFrame, intensities: pd.DataFrame | None
) -> None:
    """Write the predictions of a job, and send what they are worth to the tracker."""
    path = job.folder / PREDICTIONS
    stage = context.config.finetune
    assert stage is not None, "a job of stage 2"
    if stage.ages == "weeks":
        rows = with_ages_in_weeks(rows, label_is_age=job.task.label == AGE_COLUMN)
    write_predictions(rows, path)
    tasks = {job.task.name: job.task}
    predictions = read_predictions(path)
    references = {}
    if intensities is not None:
        found = intensity_predictions(predictions, tasks, intensities)
        write_predictions(found, job.folder / INTENSITY_PREDICTIONS)
        references[INTENSITY_ONLY] = found
    records = evaluate_predictions(predictions, tasks, references=references)
    context.tracker.metrics(records_to_metrics(records))
    context.tracker.artifact(path)


def _tracking_run_of_stage1(context: Context, job: FinetuneJob) -> str | None:
    """Id of the tracked run that made a job's encoder."""
    if context.stage1 is None or job.source is None:
        return None
    record = context.finished(context.stage1.folder / job.source) or {}
    return record.get("tracking_run")


def _dataset(
    context: Context, stage: FinetuneConfig, job: FinetuneJob, split: str
) -> ClipSet | ExamSet:
    tasks = [job.task]
    if split == "train":
        tasks = with_balanced(tasks, stage.order, context.config.tasks.by_name)
    share = stage.train_share if split == "train" else 1.0
    clips = context.corpus.clips(
        SET_SPLIT_COLUMNS[job.patients], split, tasks, share=share, seed=context.config.seed
    )
    return ExamSet(clips) if job.task.level == "exam" else clips


def selection_set(task: Task, valid: ClipSet | ExamSet) -> ClipSet | ExamSet:
    """The validation clips or exams that choose the checkpoint.

    All of them, but for a task whose certainty is recalibrated: there every second patient is left
    to that, as long as somebody with a label is left to choose.
    """
    if not evaluation_of(task).is_recalibrated(task):
        return valid
    clips = valid.clips
    chooses = ~is_for_calibration(clips.manifest["patient"]).to_numpy()
    is_labelled = ~is_missing(clips.labels[task.name])
    if chooses.all() or not (chooses & is_labelled).any():
        return valid
    labels = {name: values[chooses] for name, values in clips.labels.items()}
    return ClipSet(clips.shards_dir, clips.manifest[chooses], labels)


def _source(
    context: Context, clips: ClipSet, embeddings: pd.Series | None, split: str
) -> ClipSource:
    """Make a source of pixels, augmented in training; or of embeddings by a frozen encoder."""
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
    return context.loader(
        dataset,
        source,
        global_batch=batch,
        training=training,
        order=stage.order,
        keep_all=True,
    )
