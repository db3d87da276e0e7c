"""Batches of an epoch, read, decoded and augmented ahead of the training step."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from bsou_dist.errors import InputError
from bsou_dist.feed.augment import IDENTITY, AugmentConfig, augment, choose_frames, draw_parameters
from bsou_dist.feed.batch import Batch
from bsou_dist.feed.clips import ClipSet, ExamSet
from bsou_dist.feed.decode import DecoderName, Request, make_decoder
from bsou_dist.feed.order import PADDING, batch_at, evaluation_batch_at, rank_slice, steps_per_epoch
from bsou_dist.feed.quarantine import Quarantine
from bsou_dist.feed.randomness import keyed_generator
from bsou_dist.feed.reader import ShardReader
from bsou_dist.shards.codec import CorruptClip
from bsou_dist.tasks import MISSING_CLASS


class FeedConfig(BaseModel):
    """How clips become tensors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    frames: int = Field(default=16, ge=1)
    """Frames per clip; a clip with fewer repeats them evenly."""
    size_px: int = Field(default=112, ge=8)
    """Side of a picture as the model sees it."""
    decoder: DecoderName = "auto"
    threads: int = Field(default=2, ge=1)
    """Threads that read and decode, per process."""
    prefetch: int = Field(default=2, ge=1)
    """Batches made ahead."""


class Loader:
    """Feeds one rank its rows of every global batch.

    Training: a global order drawn anew each epoch, the ragged tail dropped. Evaluation: every item exactly once in the
    set's order, the last batch padded, so that all ranks take the same number of steps over the same fixed batches;
    random choices there are those of epoch 0. What a row holds depends on neither rank, world, threads nor
    `start_step`, bit for bit on one type of device.

    Args:
        dataset: clips, or exams of six slots.
        global_batch: items (clips or exams) per step over all ranks.
        augment: strengths; None only resizes and takes the middle frames.
        views: augmented views of each item, 1 or 2.
        quarantine: where clips that cannot be decoded go.
        device: where batches are wanted.

    Raises:
        InputError: fewer items than a training batch, fewer rows than ranks, or a codec that `config.decoder` cannot
            decode on `device`.
    """

    def __init__(self, dataset: ClipSet | ExamSet, *, global_batch: int, seed: int, config: FeedConfig,
                 augment: AugmentConfig | None, training: bool, quarantine: Quarantine, views: int = 1,
                 rank: int = 0, world: int = 1, device: str = "cpu") -> None:
        assert views in (1, 2), views
        if training and len(dataset) < global_batch:
            raise InputError(f"global_batch is {global_batch} and the training split has {len(dataset)} items; "
                             f"set global_batch to at most {len(dataset)}")
        self.dataset = dataset
        self.global_batch = global_batch
        self.seed = seed
        self.config = config
        self.augment = augment
        self.training = training
        self.quarantine = quarantine
        self.views = views
        self.device = device
        self._rows = rank_slice(global_batch, rank, world)
        self._reader = ShardReader(dataset.clips.shards_dir, dataset.clips.manifest)
        self._decoder = make_decoder(config.decoder, dataset.clips.codec, device, config.threads)

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
                maker.submit(self.batch, epoch, step) for step in islice(upcoming, self.config.prefetch))
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
        clips, decoded = self._clips(picked.ravel(), drawn_epoch)
        slots = decoded.reshape(picked.shape)
        valid = np.logical_or.reduce(slots, axis=1)
        padded = index == PADDING

        def rows(values: np.ndarray, missing: float, where: np.ndarray) -> Tensor:
            filled = np.where(where, np.array(missing, dtype=values.dtype), values[index])
            return torch.from_numpy(np.tile(filled, self.views)).to(self.device)

        return Batch(
            clips=clips if self.dataset.slots == 1 else clips.unflatten(0, (-1, self.dataset.slots)),
            slots=torch.from_numpy(np.tile(slots, (self.views, 1))).to(self.device),
            valid=torch.from_numpy(np.tile(valid, self.views)).to(self.device),
            labels={task: rows(values, MISSING_CLASS if values.dtype == np.int64 else np.nan, ~valid)
                    for task, values in self.dataset.labels.items()},
            key=["" if item == PADDING else self.dataset.key[item] for item in index] * self.views,
            study=rows(self.dataset.study, -1, padded), exam=rows(self.dataset.exam, -1, padded),
            subject=rows(self.dataset.subject, -1, padded), sweep=rows(self.dataset.sweep, -1, padded),
            index=torch.from_numpy(np.tile(index, self.views)).to(self.device),
            views=self.views, epoch=epoch, step=step)

    def _clips(self, picked: np.ndarray, epoch: int) -> tuple[Tensor, np.ndarray]:
        """Pixels of the clips named in `picked` (n,), negative where there is none.

        Returns:
            float32 (views · n, 1, F, S, S), view-major, zero where there is none; and bool (n,), which there are.
        """
        frames = self._decode(picked, epoch)
        places = list(frames)
        present = np.zeros(len(picked), dtype=bool)
        present[places] = True
        shape = (self.views, len(picked), 1, self.config.frames, self.config.size_px, self.config.size_px)
        pixels = torch.zeros(shape, device=self.device)
        if places:
            keys = [self.dataset.clips.key[picked[place]] for place in places]
            parameters = [IDENTITY if self.augment is None
                          else draw_parameters(self.augment, self.seed, epoch, key, view)
                          for view in range(self.views) for key in keys]
            stacked = torch.stack(list(frames.values()), dim=1).flatten(0, 1)[:, None]  # (views · clips, 1, F, H, W)
            pixels[:, places] = augment(stacked, parameters, self.config.size_px).unflatten(0, (self.views, -1))
        return pixels.flatten(0, 1), present

    def _decode(self, picked: np.ndarray, epoch: int) -> dict[int, Tensor]:
        """Frames at rest, uint8 (views, F, H, W), by place in `picked`; clips that fail go into quarantine instead."""
        places = [int(place) for place in np.flatnonzero(picked >= 0)]
        chosen = {place: self._frames(int(picked[place]), epoch) for place in places}
        failures: dict[int, Exception] = {}
        requests: dict[int, Request] = {}
        read = self._reader.read_all([int(picked[place]) for place in places], self.config.threads)
        for place, member in zip(places, read, strict=True):
            if isinstance(member, Exception):
                failures[place] = member
            else:
                meta, data = member
                requests[place] = (data, meta, np.unique(chosen[place]))  # views share frames: each is decoded once
        frames: dict[int, Tensor] = {}
        expected = (self.dataset.clips.height, self.dataset.clips.width)
        decoded = self._decoder.decode(list(requests.values()))
        for (place, request), result in zip(requests.items(), decoded, strict=True):
            if isinstance(result, Exception):
                failures[place] = result
            elif result.shape[1:] != expected:
                failures[place] = CorruptClip(f"pictures of {tuple(result.shape[1:])}, the manifest says {expected}")
            else:
                position = torch.from_numpy(np.searchsorted(request[2], chosen[place]))
                frames[place] = result[position.to(result.device)].to(self.device)
        for place in sorted(failures):
            self._set_aside(int(picked[place]), failures[place])
        return frames

    def _frames(self, clip: int, epoch: int) -> np.ndarray:
        """Frames of a clip for every view, int64 (views, F)."""
        total, wanted, key = int(self.dataset.clips.frames[clip]), self.config.frames, self.dataset.clips.key[clip]
        if self.augment is None or not self.augment.frame_jitter:
            return np.tile(choose_frames(total, wanted), (self.views, 1))
        return np.stack([
            choose_frames(total, wanted, keyed_generator("frames", self.seed, epoch, key, view).random(wanted))
            for view in range(self.views)])

    def _set_aside(self, clip: int, reason: Exception) -> None:
        row = self.dataset.clips.manifest.iloc[clip]
        self.quarantine.add(str(row["shard"]), int(row["offset"]), str(row["key"]),
                            f"{type(reason).__name__}: {reason}")
