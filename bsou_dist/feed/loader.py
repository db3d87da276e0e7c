"""Batches of an epoch, read, decoded and augmented ahead of the training step."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from bsou_dist.feed.batch import Batch
from bsou_dist.feed.dataset import ClipSet, ExamSet
from bsou_dist.feed.filled_slots import FilledSlots
from bsou_dist.feed.global_rows import Movable, Planner, global_rows
from bsou_dist.feed.order.in_turn import InTurn
from bsou_dist.feed.order.make import OrderConfig, make_order
from bsou_dist.feed.order.protocol import PADDING, Order, rank_slice
from bsou_dist.feed.order.windowed import Windowed
from bsou_dist.feed.protocol import ClipSource
from bsou_dist.feed.reader_pool import ReaderPool, Reads
from bsou_dist.feed.side_stream import SideStream, to_device
from bsou_dist.tasks.labels import missing_label

Filled = tuple[np.ndarray, torch.cuda.Event | None]
"""Clips of a piece that are there, bool (n,), and what a GPU must wait for before it uses them."""


Item = TypeVar("Item")


@dataclass(frozen=True)
class _Planned:
    """A batch whose clips are being read."""

    epoch: int
    step: int
    items: np.ndarray
    """Items of the rows of all ranks, int64 (global_batch,)."""
    index: np.ndarray
    """Items of this rank's rows, int64 (B,)."""
    picked: np.ndarray
    """Clips of their slots, int64 (B, slots), negative where there is none."""
    reads: list[Reads]
    """Per piece of the clips, what is read of those that are there."""


@dataclass(frozen=True)
class _Begun:
    """A batch whose rows are being filled."""

    plan: _Planned
    rows: Tensor
    """What is being filled, (views, B * slots, ...)."""
    pieces: list[Future[Filled]]
    loss_plan: Future[Movable] | None


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
        keep_all: train on every item in each epoch, in batches that may be smaller; else on whole
            batches only, which a loss that compares the rows of a batch needs.
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
        keep_all: bool = False,
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
            self.order = make_order(
                order or OrderConfig(), dataset, global_batch, seed, keep_all=keep_all
            )
        else:
            self.order = InTurn(len(dataset), global_batch)
        self.planner: Planner | None = None
        """Makes `Batch.plan`, if anything does."""
        self._rank = rank
        self._world = world
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
        `data_wait_s` of a batch is how long the consumer waited for it, and `clips_read_ahead` how
        many clips were read then and not yet decoded.

        Raises:
            QuarantineExceeded: more clips could not be decoded than allowed.
            Unreadable: the storage fails.
        """
        # Settles how many threads this one computes with. The makers set a number of their own,
        # which would become that of every thread that has not computed yet.
        torch.get_num_threads()
        source = self.source
        makers = ThreadPoolExecutor(
            source.threads, "bsou-feed", initializer=_compute_alone, initargs=(source.device,)
        )
        readers = ReaderPool(source.readers)
        with readers, makers:
            side = SideStream(source.device)
            plans = self._plan_each(readers, first, end, start_step)
            plans = _ahead(plans, self._batches_read_ahead())
            upcoming = (self._begin(makers, readers, side, plan) for plan in plans)
            ahead = deque(islice(upcoming, self.prefetch))
            try:
                while ahead:
                    began = time.perf_counter()
                    current = ahead.popleft()
                    ahead.extend(islice(upcoming, 1))
                    batch = self._finish(current, side)
                    batch.data_wait_s = time.perf_counter() - began
                    batch.clips_read_ahead = readers.ready
                    yield batch
            finally:
                # Leaving the 'with' waits for what is under way, but nothing more is begun.
                readers.stop()
                makers.shutdown(wait=False, cancel_futures=True)

    def _batches_read_ahead(self) -> int:
        """Batches that are read before those that are made ahead, where these are small.

        Twice as many clips as there are readers keep all of them busy.
        """
        clips = (self._rows.stop - self._rows.start) * self.dataset.slots
        return max(0, math.ceil(2 * self.source.readers / clips) - self.prefetch)

    def _plan_each(
        self, readers: ReaderPool, first: int, end: int, start_step: int
    ) -> Iterator[_Planned]:
        """Begin to read a batch whenever one is asked for."""
        for epoch in range(first, end):
            batches = self.order.epoch(epoch)
            windows = self._windows(epoch)
            first_step = start_step if epoch == first else 0
            for step in range(first_step, len(batches)):
                self._prefetch_windows(readers, windows, step)
                yield self._plan(readers, batches[step], epoch, step)

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

    def _prefetch_windows(self, readers: ReaderPool, windows: deque[_Window], step: int) -> None:
        """Prefetch the windows that are wanted from the batch of a step on, and drop them."""
        first = step * self.global_batch
        end = first + self.global_batch
        while windows and windows[0].wanted < end:
            window = windows.popleft()
            # Where a run goes on within an epoch, there are windows that it has already read.
            if window.end > first:
                readers.prefetch(self.source.prefetch_shard, window.shards)

    def _plan(self, readers: ReaderPool, items: np.ndarray, epoch: int, step: int) -> _Planned:
        """Have the clips of this rank's rows read."""
        index = items[self._rows]
        picked = self.dataset.pick(index, self.seed, self._drawn(epoch), self.training)
        reads = []
        for piece in self._pieces(picked.size):
            clips = picked.ravel()[piece]
            reads.append(self.source.begin_reading(readers, clips))
        return _Planned(epoch, step, items, index, picked, reads)

    def _begin(
        self, makers: ThreadPoolExecutor, readers: ReaderPool, side: SideStream, plan: _Planned
    ) -> _Begun:
        """Hand a batch to the makers in pieces, so that none of them waits for another."""
        clips = plan.picked.ravel()
        loss_plan = None
        if self.planner:
            loss_plan = makers.submit(self._plan_loss, self.planner, plan.items)
        with side.making():
            rows = self.source.empty(len(clips))
        pieces = []
        for piece, reads in zip(self._pieces(len(clips)), plan.reads, strict=True):
            part = rows[:, piece], clips[piece]
            pieces.append(makers.submit(self._fill, readers, side, *part, reads, plan.epoch))
        return _Begun(plan, rows, pieces, loss_plan)

    def _plan_loss(self, planner: Planner, items: np.ndarray) -> Movable:
        """What `planner` makes of the rows of all ranks."""
        views = self.source.views
        rows = global_rows(self.dataset, items, views=views, rank=self._rank, world=self._world)
        return planner(rows)

    def _pieces(self, clips: int) -> list[slice]:
        """Parts of a batch that are filled in one go each."""
        size = self.source.piece
        return [slice(first, first + size) for first in range(0, clips, size)]

    def _fill(
        self,
        readers: ReaderPool,
        side: SideStream,
        rows: Tensor,
        picked: np.ndarray,
        reads: Reads,
        epoch: int,
    ) -> Filled:
        members = readers.take(reads)
        with side.making():
            present = self.source.fill(rows, picked, members, self._drawn(epoch))
            return present, side.mark()

    def _finish(self, begun: _Begun, side: SideStream) -> Batch:
        """Wait for the pieces of a batch, and put it together."""
        filled = [piece.result() for piece in begun.pieces]
        side.hand_over([mark for _, mark in filled], [begun.rows])
        present = np.concatenate([present for present, _ in filled])
        return self._batch(begun, slots=present.reshape(begun.plan.picked.shape))

    def _drawn(self, epoch: int) -> int:
        """The epoch whose random choices are made."""
        return epoch if self.training else 0

    def _batch(self, begun: _Begun, slots: np.ndarray) -> Batch:
        """A batch from its filled rows and the slots (B, slots) that could be filled."""
        plan = begun.plan
        dataset, index = self.dataset, plan.index
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
        slots_of_rows = np.tile(slots, (views, 1))
        return Batch(
            clips=clips,
            slots=to_device(slots_of_rows, device),
            valid=to_device(np.tile(valid, views), device),
            labels=labels,
            key=keys * views,
            study=per_row(dataset.study, padding, -1),
            exam=per_row(dataset.exam, padding, -1),
            subject=per_row(dataset.subject, padding, -1),
            sweep=per_row(dataset.sweep, padding, -1),
            index=to_device(np.tile(index, views), device),
            views=views,
            epoch=plan.epoch,
            step=plan.step,
            filled=FilledSlots(slots_of_rows, device),
            plan=begun.loss_plan.result().to(device) if begun.loss_plan else None,
        )


def _ahead(items: Iterator[Item], count: int) -> Iterator[Item]:
    """The same items, each taken from `items` when the one `count` before it is asked for."""
    waiting = deque(islice(items, count))
    for item in items:
        waiting.append(item)
        yield waiting.popleft()
    yield from waiting


def _compute_alone(device: str) -> None:
    """Have a maker compute on the device, without threads of torch's own.

    Makers work side by side, each on its own piece; threads within an operation would only wait.
    A thread begins with the first GPU of its process, whichever that process trains on.
    """
    torch.set_num_threads(1)
    if torch.device(device).type == "cuda":
        torch.cuda.set_device(device)
