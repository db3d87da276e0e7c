"""Batches of an epoch, read, decoded and augmented ahead of the training step."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from bsou_dist.errors import InputError
from bsou_dist.feed.batch import Batch
from bsou_dist.feed.clips import ClipSet, ExamSet
from bsou_dist.feed.order import PADDING, batch_at, evaluation_batch_at, rank_slice, steps_per_epoch
from bsou_dist.tasks import MISSING_CLASS


class Source(Protocol):
    """What stands for a clip in a batch."""

    views: int
    """Rows per clip, 1 or 2."""
    device: str

    def fetch(self, picked: np.ndarray, epoch: int) -> tuple[Tensor, np.ndarray]:
        """float32 (views · n, ...), view-major, for the clips that `picked` (n,) names, zero where it is negative or
        the clip cannot be had; and bool (n,), which there are.
        """


class Loader:
    """Feeds one rank its rows of every global batch.

    Training: a global order drawn anew each epoch, the ragged tail dropped. Evaluation: every item exactly once in the
    set's order, the last batch padded, so that all ranks take the same number of steps over the same fixed batches;
    random choices there are those of epoch 0. What a row holds depends on neither rank, world, threads nor
    `start_step`, bit for bit on one type of device.

    Args:
        dataset: clips, or exams of six slots.
        source: what stands for a clip of `dataset.clips`: its pixels, or an embedding made beforehand.
        global_batch: items (clips or exams) per step over all ranks.
        prefetch: batches made ahead.

    Raises:
        InputError: fewer items than a training batch, or fewer rows than ranks.
    """

    def __init__(self, dataset: ClipSet | ExamSet, source: Source, *, global_batch: int, seed: int, training: bool,
                 prefetch: int = 2, rank: int = 0, world: int = 1) -> None:
        if training and len(dataset) < global_batch:
            raise InputError(f"global_batch is {global_batch} and the training split has {len(dataset)} items; "
                             f"set global_batch to at most {len(dataset)}")
        self.dataset = dataset
        self.global_batch = global_batch
        self.seed = seed
        self.training = training
        self.source = source
        self.prefetch = prefetch
        self._rows = rank_slice(global_batch, rank, world)

    def steps(self) -> int:
        """Global batches in an epoch."""
        return steps_per_epoch(len(self.dataset), self.global_batch, drop_last=self.training)

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """Batches `start_step` .. `steps()`-1 of an epoch, made ahead by a thread that ends with this iterator.

        One iterator at a time; `data_wait_s` of a batch is how long the consumer waited for it.

        Raises:
            QuarantineExceeded: more clips could not be decoded than allowed.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="bsou-prefetch") as maker:
            upcoming = iter(range(start_step, self.steps()))
            ahead: deque[Future[Batch]] = deque(
                maker.submit(self.batch, epoch, step) for step in islice(upcoming, self.prefetch))
            try:
                while ahead:
                    began = time.perf_counter()
                    current = ahead.popleft()
                    ahead.extend(maker.submit(self.batch, epoch, step) for step in islice(upcoming, 1))
                    batch = current.result()
                    yield replace(batch, data_wait_s=time.perf_counter() - began)
            finally:
                maker.shutdown(wait=False, cancel_futures=True)  # leaving the 'with' waits for the one under way

    def batch(self, epoch: int, step: int) -> Batch:
        """Make one batch in the calling thread; not while an `epoch` is under way, which shares the decoder."""
        n = len(self.dataset)
        index = (batch_at(n, self.global_batch, self.seed, epoch, step) if self.training
                 else evaluation_batch_at(n, self.global_batch, step))[self._rows]
        drawn_epoch = epoch if self.training else 0
        picked = self.dataset.pick(index, self.seed, drawn_epoch, self.training)
        views, device = self.source.views, self.source.device
        clips, decoded = self.source.fetch(picked.ravel(), drawn_epoch)
        slots = decoded.reshape(picked.shape)
        valid = np.logical_or.reduce(slots, axis=1)
        padded = index == PADDING

        def rows(values: np.ndarray, missing: float, where: np.ndarray) -> Tensor:
            filled = np.where(where, np.array(missing, dtype=values.dtype), values[index])
            return torch.from_numpy(np.tile(filled, views)).to(device)

        return Batch(
            clips=clips if self.dataset.slots == 1 else clips.unflatten(0, (-1, self.dataset.slots)),
            slots=torch.from_numpy(np.tile(slots, (views, 1))).to(device),
            valid=torch.from_numpy(np.tile(valid, views)).to(device),
            labels={task: rows(values, MISSING_CLASS if values.dtype == np.int64 else np.nan, ~valid)
                    for task, values in self.dataset.labels.items()},
            key=["" if item == PADDING else self.dataset.key[item] for item in index] * views,
            study=rows(self.dataset.study, -1, padded), exam=rows(self.dataset.exam, -1, padded),
            subject=rows(self.dataset.subject, -1, padded), sweep=rows(self.dataset.sweep, -1, padded),
            index=torch.from_numpy(np.tile(index, views)).to(device),
            views=views, epoch=epoch, step=step)
