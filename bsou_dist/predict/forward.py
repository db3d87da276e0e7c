"""A forward pass over a split: embeddings, and rows for `predictions.parquet`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.distributed as dist
from tqdm import tqdm

from bsou_dist.common.sweeps import SWEEPS
from bsou_dist.engine.processes import Processes
from bsou_dist.feed.dataset import ClipSet, ExamSet
from bsou_dist.feed.protocol import Feed
from bsou_dist.model.encoder import Encoder
from bsou_dist.model.network import TaskNetwork
from bsou_dist.predict.prediction_table import SCHEMA
from bsou_dist.tasks.labels import labels_as_numbers
from bsou_dist.tasks.task import Task


@torch.no_grad()
def embed(
    encoder: Encoder, feed: Feed, processes: Processes, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of every clip of `feed`, in its set's order. Collective; a signal raises `Stopped`
    on every rank.

    Returns:
        float32 (n, C), on every rank; and bool (n,), False for clips that could not be decoded
        (their row is 0).
    """
    encoder.to(processes.device).eval()
    rows = torch.zeros(len(feed.dataset), encoder.dim)
    there = torch.zeros(len(feed.dataset))
    hidden = None if processes.first else True
    for batch in tqdm(feed.epoch(0), total=feed.steps(), desc=name, unit="batch", disable=hidden):
        processes.at(f"{name}, batch {batch.step + 1}")
        processes.check_stop()
        _, embedding = encoder(batch.clips[batch.valid])
        index = batch.index[batch.valid].cpu()
        rows[index] = embedding.float().cpu()
        there[index] = 1.0
    processes.at(None)
    for part in (rows, there):
        shared = part.to(processes.device)
        dist.all_reduce(shared)
        part.copy_(shared)
    return rows.numpy(), there.numpy().astype(bool)


@torch.no_grad()
def predict(network: TaskNetwork, task: Task, feed: Feed, processes: Processes) -> pd.DataFrame:
    """Predict every clip or exam of `feed` that could be decoded. Collective.

    Returns:
        The rows of all ranks, on every rank, in the set's order; columns as in
        `prediction_table.SCHEMA` without 'set' and 'split'.

    Raises:
        Stopped: on every rank, by a signal.
    """
    network.to(processes.device).eval()
    frames = []
    for batch in feed.epoch(0):
        processes.at(f"predicting {task.name}, batch {batch.step + 1}")
        processes.check_stop()
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
    gathered: list[Any] = [None] * processes.world
    dist.all_gather_object(gathered, pd.concat(frames))
    rows = pd.concat(gathered).sort_values("index").reset_index(drop=True)
    identity = _identity(task, feed.dataset, rows["index"].to_numpy())
    return pd.concat([rows.drop(columns="index"), identity], axis=1)


def labels_only(task: Task, dataset: ClipSet | ExamSet) -> pd.DataFrame:
    """Rows of a set with their label and no prediction.

    A majority or mean predictor is made from them.
    """
    rows = _identity(task, dataset, np.arange(len(dataset)))
    return rows.assign(label=labels_as_numbers(dataset.labels[task.name]))


def _identity(task: Task, dataset: ClipSet | ExamSet, index: np.ndarray) -> pd.DataFrame:
    """Identities of rows from the manifest; an exam takes what its first clip has."""
    first_clips = dataset.clips.manifest.iloc[dataset.first_clip[index]].reset_index(drop=True)
    known = first_clips[[column for column in SCHEMA.names if column in first_clips]]
    sweeps = [SWEEPS[code] if code >= 0 else None for code in dataset.sweep[index]]
    keys = [dataset.key[item] for item in index]
    return known.assign(task=task.name, level=task.level, key=keys, sweep=sweeps)
