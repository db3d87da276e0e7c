"""Batches of an epoch, read, decoded and augmented ahead of the training step."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from bsou_dist.feed.batch import Batch
from bsou_dist.feed.dataset import ClipSet, ExamSet
from bsou_dist.feed.order.in_turn import InTurn
from bsou_dist.feed.order.make import OrderConfig, make_order
from bsou_dist.feed.order.protocol import PADDING, Order, rank_slice
from bsou_dist.feed.order.windowed import Windowed
from bsou_dist.feed.protocol import ClipSource
from bsou_dist.feed.side_stream import SideStream, to_device
from bsou_dist.tasks.labels import missing_label

Filled = tuple[np.ndarray, torch.cuda.Event | None]
"""Clips of a piece that are there, bool (n,), and what a GPU must wait for before it uses them."""


@dataclass(frozen=True)
class _Begun:
    """A batch whose rows are being filled."""

    epoch: int
    step: int
    index: np.ndarray
    """Items of the rows, int64 (B,)."""
    rows: Tensor
    """What is being filled, (views, B * slots, ...)."""
    shape: tuple[int, int]
    """Items and slots per item: (B, slots)."""
    pieces: list[Future[Filled]]


@dataclass(frozen=True)
class _Window:
    """Shards that are read together."""

    wanted: int
    """Position in the epoch from which on they are prefetched: where the window before begins."""
    end: int
    """Position at which the next window begins."""
    shards: list[int]


class Loader:
    """A `Feed`: gives one rank its rows of every global batch.

    - Training: an order of the items drawn anew each epoch (see `feed.order`).
    - Evaluation: every item exactly once in the set's order, the last batch padded, so that all
      ranks take the same number of steps over the same fixed batches. Random choices are those of
      epoch 0.

    What a row holds depends on neither rank, world, threads nor `start_step`, bit for bit on one
    type of device.

    Args:
        dataset: clips, or exams of six slots.
        source: what stands for a clip of `dataset.clips`: its pixels, or an embedding made
            beforehand.
        global_batch: items (clips or exams) per step over all ranks.
        seed: seed of all random choices.
        training: whether to draw an order, or to evaluate.
        order: which order training takes; evaluation has but one.
        prefetch: batches made ahead.
        rank, world: this process and the number of processes, which share a global batch.

    Raises:
        InputError: fewer items than a training batch, an order that they cannot fill, or fewer rows
            than ranks.
    """

    def __init__(
        self,
        dataset: ClipSet | ExamSet,
        source: ClipSource,
        *,
        global_batch: int,
        seed: int,
        training: bool,
        order: OrderConfig | None = None,
        prefetch: int = 2,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.dataset = dataset
        self.global_batch = global_batch
        self.seed = seed
        self.training = training
        self.source = source
        self.prefetch = prefetch
        self.order: Order
        if training:
            self.order = make_order(order or OrderConfig(), dataset, global_batch, seed)
        else:
            self.order = InTurn(len(dataset), global_batch)
        self._rows = rank_slice(global_batch, rank, world)

    def steps(self) -> int:
        """Global batches in an epoch."""
        return self.order.steps()

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """Batches of one epoch, from `start_step` on; see `epochs`."""
        return self.epochs(epoch, epoch + 1, start_step)

    def epochs(self, first: int, end: int, start_step: int = 0) -> Iterator[Batch]:
        """Batches of epochs `first` .. `end`-1, of the first one from `start_step` on.

        They are made ahead, across the end of an epoch too, by threads that end with this iterator.
        `data_wait_s` of a batch is how long the consumer waited for it.

        Raises:
            QuarantineExceeded: more clips could not be decoded than allowed.
        """
        # Settles how many threads this one computes with. The makers set a number of their own,
        # which would become that of every thread that has not computed yet.
        torch.get_num_threads()
        makers = ThreadPoolExecutor(self.source.threads, "bsou-feed", initializer=_compute_alone)
        with makers:
            side = SideStream(self.source.device)
            upcoming = self._begin_each(makers, side, first, end, start_step)
            ahead = deque(islice(upcoming, self.prefetch))
            try:
                while ahead:
                    began = time.perf_counter()
                    current = ahead.popleft()
                    ahead.extend(islice(upcoming, 1))
                    batch = self._finish(current, side)
                    batch.data_wait_s = time.perf_counter() - began
                    yield batch
            finally:
                # Leaving the 'with' waits for what is under way, but nothing more is begun.
                makers.shutdown(wait=False, cancel_futures=True)

    def _begin_each(
        self, makers: ThreadPoolExecutor, side: SideStream, first: int, end: int, start_step: int
    ) -> Iterator[_Begun]:
        """Begin a batch whenever one is asked for."""
        for epoch in range(first, end):
            batches = self.order.epoch(epoch)
            windows = self._windows(epoch)
            first_step = start_step if epoch == first else 0
            for step in range(first_step, len(batches)):
                self._prefetch_windows(makers, windows, step)
                yield self._begin(makers, side, batches[step], epoch, step)

    def _windows(self, epoch: int) -> deque[_Window]:
        """Windows of an epoch, in the order of reading; none where the order has no windows."""
        if not isinstance(self.order, Windowed):
            return deque()
        windows = self.order.windows(epoch)
        starts = [start for start, _ in windows]
        ends = [*starts[1:], len(self.dataset)]
        wanted = [0, *starts[:-1]]  # while the window before is read
        shards = [shards for _, shards in windows]
        return deque(map(_Window, wanted, ends, shards))

    def _prefetch_windows(
        self, makers: ThreadPoolExecutor, windows: deque[_Window], step: int
    ) -> None:
        """Prefetch the windows that are wanted from the batch of a step on, and drop them."""
        first = step * self.global_batch
        end = first + self.global_batch
        while windows and windows[0].wanted < end:
            window = windows.popleft()
            # Where a run goes on within an epoch, there are windows that it has already read.
            if window.end > first:
                for shard in window.shards:
                    makers.submit(self.source.prefetch_shard, shard)

    def _begin(
        self, makers: ThreadPoolExecutor, side: SideStream, items: np.ndarray, epoch: int, step: int
    ) -> _Begun:
        """Hand a batch to the makers in pieces, so that none of them waits for another."""
        index = items[self._rows]
        picked = self.dataset.pick(index, self.seed, self._drawn(epoch), self.training)
        clips = picked.ravel()
        makers.submit(self.source.prefetch, clips)
        with side.making():
            rows = self.source.empty(len(clips))
        pieces = []
        for first in range(0, len(clips), self.source.piece):
            piece = slice(first, first + self.source.piece)
            pieces.append(makers.submit(self._fill, side, rows[:, piece], clips[piece], epoch))
        return _Begun(epoch, step, index, rows, picked.shape, pieces)

    def _fill(self, side: SideStream, rows: Tensor, picked: np.ndarray, epoch: int) -> Filled:
        with side.making():
            present = self.source.fill(rows, picked, self._drawn(epoch))
            return present, side.mark()

    def _finish(self, begun: _Begun, side: SideStream) -> Batch:
        """Wait for the pieces of a batch, and put it together."""
        filled = [piece.result() for piece in begun.pieces]
        side.hand_over([mark for _, mark in filled], [begun.rows])
        present = np.concatenate([present for present, _ in filled])
        return self._batch(begun, slots=present.reshape(begun.shape))

    def _drawn(self, epoch: int) -> int:
        """The epoch whose random choices are made."""
        return epoch if self.training else 0

    def _batch(self, begun: _Begun, slots: np.ndarray) -> Batch:
        """A batch from its filled rows and the slots (B, slots) that could be filled."""
        dataset, index = self.dataset, begun.index
        views, device = self.source.views, self.source.device
        clips = begun.rows.flatten(0, 1)
        if dataset.slots > 1:
            clips = clips.unflatten(0, (-1, dataset.slots))
        valid = np.logical_or.reduce(slots, axis=1)
        padding = index == PADDING

        def per_row(values: np.ndarray, blank: np.ndarray, missing: float) -> Tensor:
            """Values of the items, `missing` where `blank`, once for every view."""
            filled = np.where(blank, np.array(missing, dtype=values.dtype), values[index])
            return to_device(np.tile(filled, views), device)

        labels = {}
        for task, values in dataset.labels.items():
            missing = missing_label(values.dtype)
            labels[task] = per_row(values, ~valid, missing)
        keys = ["" if item == PADDING else dataset.key[item] for item in index]
        return Batch(
            clips=clips,
            slots=to_device(np.tile(slots, (views, 1)), device),
            valid=to_device(np.tile(valid, views), device),
            labels=labels,
            key=keys * views,
            study=per_row(dataset.study, padding, -1),
            exam=per_row(dataset.exam, padding, -1),
            subject=per_row(dataset.subject, padding, -1),
            sweep=per_row(dataset.sweep, padding, -1),
            index=to_device(np.tile(index, views), device),
            views=views,
            epoch=begun.epoch,
            step=begun.step,
        )


def _compute_alone() -> None:
    """Have a maker compute without threads of torch's own.

    Makers work side by side, each on its own piece; threads within an operation would only wait.
    """
    torch.set_num_threads(1)
