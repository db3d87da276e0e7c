"""A forward pass over a split: embeddings, and rows for `predictions.parquet`."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from bsou_dist.common.sweeps import SWEEPS
from bsou_dist.engine.processes import Processes
from bsou_dist.engine.speed import SpeedConfig, autocast, set_number_formats
from bsou_dist.feed.dataset import ClipSet, ExamSet
from bsou_dist.feed.protocol import Feed
from bsou_dist.model.encoder import Encoder
from bsou_dist.model.network import TaskNetwork
from bsou_dist.predict.prediction_table import SCHEMA
from bsou_dist.tasks.labels import labels_as_numbers
from bsou_dist.tasks.task import Task


@torch.no_grad()
def embed(
    encoder: Encoder,
    feed: Feed,
    processes: Processes,
    name: str,
    speed: SpeedConfig,
    *,
    shown: bool = True,
) -> tuple[np.ndarray, np.ndarray] | None:
    """Embeddings of every clip of `feed`, in its set's order, in the precision of `speed`.

    Collective; a signal raises `Stopped` on every rank. Progress is `shown` on the first one.

    Returns:
        On the first rank float32 (n, C), and bool (n,), False for clips that could not be decoded
        (their row is 0); None on the others.
    """
    set_number_formats(speed, processes.device)
    encoder.to(processes.device).eval()
    indices: list[np.ndarray] = [np.zeros(0, np.int64)]
    embeddings: list[np.ndarray] = [np.zeros((0, encoder.dim), np.float32)]
    hidden = None if processes.first and shown else True
    for batch in tqdm(feed.epoch(0), total=feed.steps(), desc=name, unit="batch", disable=hidden):
        processes.at(f"{name}, batch {batch.step + 1}")
        processes.check_stop()
        with autocast(speed, processes.device):
            _, embedding = encoder(batch.clips[batch.valid])
        indices.append(batch.index[batch.valid].cpu().numpy())
        embeddings.append(embedding.float().cpu().numpy())
    processes.at(None)
    parts = processes.gather_on_first((np.concatenate(indices), np.concatenate(embeddings)))
    if parts is None:
        return None
    rows = np.zeros((len(feed.dataset), encoder.dim), np.float32)
    there = np.zeros(len(feed.dataset), bool)
    for index, embedded in parts:
        rows[index] = embedded
        there[index] = True
    return rows, there


@torch.no_grad()
def predict(
    network: TaskNetwork, task: Task, feed: Feed, processes: Processes, speed: SpeedConfig
) -> pd.DataFrame | None:
    """Predict every clip or exam of `feed` that could be decoded, in the precision of `speed`.

    Collective.

    Returns:
        On the first rank the rows of all, in the set's order; columns as in
        `prediction_table.SCHEMA` without 'set' and 'split'. None on the others.

    Raises:
        Stopped: on every rank, by a signal.
    """
    set_number_formats(speed, processes.device)
    network.to(processes.device).eval()
    frames = []
    for batch in feed.epoch(0):
        processes.at(f"predicting {task.name}, batch {batch.step + 1}")
        processes.check_stop()
        with autocast(speed, processes.device):
            outputs = network(*batch.inputs())
        labels = batch.labels[task.name].cpu().numpy()
        columns = {
            "index": batch.index.cpu().numpy(),
            "label": labels_as_numbers(labels),
            **network.head.predictions(outputs),
        }
        frame = pd.DataFrame(columns)
        frames.append(frame[batch.valid.cpu().numpy()])
    processes.at(None)
    gathered = processes.gather_on_first(pd.concat(frames))
    if gathered is None:
        return None
    rows = pd.concat(gathered).sort_values("index").reset_index(drop=True)
    identity = _identity(task, feed.dataset, rows["index"].to_numpy())
    return pd.concat([rows.drop(columns="index"), identity], axis=1)


def labels_only(task: Task, dataset: ClipSet | ExamSet) -> pd.DataFrame:
    """Rows of a set with their label and no prediction.

    A median or majority predictor is made from them.
    """
    rows = _identity(task, dataset, np.arange(len(dataset)))
    return rows.assign(label=labels_as_numbers(dataset.labels[task.name]))


def _identity(task: Task, dataset: ClipSet | ExamSet, index: np.ndarray) -> pd.DataFrame:
    """Identities of rows from the manifest; an exam takes what its first clip has."""
    first_clips = dataset.clips.manifest.iloc[dataset.first_clip[index]].reset_index(drop=True)
    known = first_clips[[column for column in SCHEMA.names if column in first_clips]]
    sweeps = [SWEEPS[code] if code >= 0 else None for code in dataset.sweep[index]]
    keys = [dataset.key[item] for item in index]
    present = dataset.clips.manifest.groupby("exam")["sweep"].nunique()
    return known.assign(
        task=task.name,
        level=task.level,
        key=keys,
        sweep=sweeps,
        sweeps_present=first_clips["exam"].map(present).astype(float),
    )
