"""A forward pass over a split: embeddings, and rows for `predictions.parquet`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.distributed as dist
from torch import Tensor
from tqdm import tqdm

from bsou_dist.engine.processes import Processes
from bsou_dist.feed.dataset import ClipSet, ExamSet
from bsou_dist.feed.protocol import Feed
from bsou_dist.model.encoder import Encoder
from bsou_dist.model.heads import Gaussian
from bsou_dist.model.network import TaskNetwork
from bsou_dist.predict.prediction_table import SCHEMA
from bsou_dist.tasks import MISSING_CLASS, SWEEPS, Task


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
    """Predictions for every clip or exam of `feed` that could be decoded, columns as in
    `predictions.SCHEMA` without 'set' and 'split'. Collective; the rows of all ranks, on every
    rank, in the set's order. A signal raises `Stopped` on every rank.
    """
    network.to(processes.device).eval()
    parts = []
    for batch in feed.epoch(0):
        processes.at(f"predicting {task.name}, batch {batch.step + 1}")
        processes.check_stop()
        outputs = network(batch.clips, batch.slots)
        columns = _columns(network, task, outputs, batch.labels[task.name])
        frame = pd.DataFrame({"index": batch.index.cpu().numpy(), **columns})
        parts.append(frame[batch.valid.cpu().numpy()])
    processes.at(None)
    gathered: list[Any] = [None] * processes.world
    dist.all_gather_object(gathered, pd.concat(parts))
    rows = pd.concat(gathered).sort_values("index").reset_index(drop=True)
    return pd.concat(
        [rows.drop(columns="index"), _identity(task, feed.dataset, rows["index"].to_numpy())],
        axis=1,
    )


def labels_only(task: Task, dataset: ClipSet | ExamSet) -> pd.DataFrame:
    """Rows of a set with their label and no prediction: what a majority or mean predictor is made
    from.
    """
    label = dataset.labels[task.name].astype(float)
    if task.kind == "classification":
        label[label == MISSING_CLASS] = np.nan
    return _identity(task, dataset, np.arange(len(dataset))).assign(label=label)


def _columns(
    network: TaskNetwork, task: Task, outputs: Tensor | Gaussian, label: Tensor
) -> dict[str, Any]:
    if isinstance(outputs, Gaussian):
        mean, variance = network.head.in_unit(outputs)
        return {
            "label": label.double().cpu().numpy(),
            "prediction": mean.double().cpu().numpy(),
            "variance": variance.double().cpu().numpy(),
            "probabilities": None,
        }
    probabilities = outputs.float().softmax(dim=1).double().cpu().numpy()
    known = label.double().masked_fill(label == MISSING_CLASS, torch.nan)
    return {
        "label": known.cpu().numpy(),
        "prediction": probabilities.argmax(axis=1).astype(float),
        "variance": np.nan,
        "probabilities": list(probabilities),
    }


def _identity(task: Task, dataset: ClipSet | ExamSet, index: np.ndarray) -> pd.DataFrame:
    """Who the rows are, from the manifest; an exam takes the metadata of its first clip."""
    metadata = dataset.clips.manifest.iloc[dataset.first_clip[index]].reset_index(drop=True)
    metadata = metadata[[column for column in SCHEMA.names if column in metadata]]
    sweep = [SWEEPS[code] if code >= 0 else None for code in dataset.sweep[index]]
    return metadata.assign(
        task=task.name, level=task.level, key=[dataset.key[i] for i in index], sweep=sweep
    )
