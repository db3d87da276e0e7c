"""Batches of an epoch, read, decoded and augmented ahead of the training step."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from bsou_dist.feed.batch import Batch
from bsou_dist.feed.dataset import ClipSet, ExamSet
from bsou_dist.feed.order.in_turn import InTurn
from bsou_dist.feed.order.make import OrderConfig, make_order
from bsou_dist.feed.order.protocol import PADDING, rank_slice
from bsou_dist.feed.order.windowed import Windowed
from bsou_dist.feed.side_stream import SideStream, to_device
from bsou_dist.tasks.labels import MISSING_CLASS


class ClipSource(Protocol):
    """What stands for a clip in a batch."""

    views: int
    """Rows per clip, 1 or 2."""
    device: str
    threads: int
    """How many threads may fill rows at once."""
    piece: int
    """Clips that one thread fills in one go."""

    def empty(self, count: int) -> Tensor:
        """float32 (views, count, ...) of any values."""

    def fill(self, rows: Tensor, picked: np.ndarray, epoch: int) -> np.ndarray:
        """Write the clips that `picked` (n,) names to `rows` (views, n, ...), zero where it is
        negative or the clip cannot be had; bool (n,), which there are.
        """

    def prefetch(self, picked: np.ndarray) -> None:
        """These clips will be asked for soon; may be negative where there is none."""

    def prefetch_shard(self, number: int) -> None:
        """All clips of a shard will be asked for soon."""


@dataclass(frozen=True)
class _Begun:
    """A batch whose rows are being filled."""

    epoch: int
    step: int
    index: np.ndarray
    rows: Tensor
    slots: tuple[int, int]
    """Items and slots of each."""
    pieces: list[Future[tuple[np.ndarray, torch.cuda.Event | None]]]


@dataclass(frozen=True)
class _Window:
    """Shards that are read together."""

    wanted: int
    """Position in the epoch from which on they are announced: the beginning of the window
    before.
    """
    end: int
    """Position at which the next window begins."""
    shards: list[int]


class Loader:
    """Feeds one rank its rows of every global batch.

    Training: an order of the items drawn anew each epoch (see `feed.order`). Evaluation: every item
    exactly once in the set's order, the last batch padded, so that all ranks take the same number
    of steps over the same fixed batches; random choices there are those of epoch 0. What a row
    holds depends on neither rank, world, threads nor `start_step`, bit for bit on one type of
    device.

    Args:
        dataset: clips, or exams of six slots.
        source: what stands for a clip of `dataset.clips`: its pixels, or an embedding made
            beforehand.
        global_batch: items (clips or exams) per step over all ranks.
        order: of training; evaluation has but one.
        prefetch: batches made ahead.

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
        self.order = (
            make_order(order or OrderConfig(), dataset, global_batch, seed)
            if training
            else InTurn(len(dataset), global_batch)
        )
        self._rows = rank_slice(global_batch, rank, world)

    def steps(self) -> int:
        """Global batches in an epoch."""
        return self.order.steps()

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """`epochs`, but one of them."""
        return self.epochs(epoch, epoch + 1, start_step)

    def epochs(self, first: int, end: int, start_step: int = 0) -> Iterator[Batch]:
        """Batches of epochs `first` .. `end`-1, of the first from `start_step` on, made ahead,
        across the end of an epoch too, by threads that end with this iterator.

        `data_wait_s` of a batch is how long the consumer waited for it.

        Raises:
            QuarantineExceeded: more clips could not be decoded than allowed.
        """
        # settles how many this thread computes with, before the makers' own number becomes
        torch.get_num_threads()
        # that of every thread that has not computed yet
        with ThreadPoolExecutor(
            self.source.threads, "bsou-feed", initializer=_compute_alone
        ) as makers:
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
                makers.shutdown(
                    wait=False, cancel_futures=True
                )  # leaving the 'with' waits for what is under way

    def _begin_each(
        self, makers: ThreadPoolExecutor, side: SideStream, first: int, end: int, start_step: int
    ) -> Iterator[_Begun]:
        for epoch in range(first, end):
            items, windows = self.order.epoch(epoch), self._windows(epoch)
            for step in range(start_step if epoch == first else 0, len(items)):
                self._announce_windows(makers, windows, step)
                yield self._begin(makers, side, items[step], epoch, step)

    def _windows(self, epoch: int) -> deque[_Window]:
        """What is to be announced in an epoch: of an order in windows all of them, of another
        nothing.
        """
        if not isinstance(self.order, Windowed):
            return deque()
        windows = self.order.windows(epoch)
        starts = [start for start, _ in windows]
        return deque(
            _Window(wanted, end, shards)
            for wanted, end, (_, shards) in zip(
                [0, *starts], [*starts[1:], len(self.dataset)], windows, strict=False
            )
        )

    def _announce_windows(
        self, makers: ThreadPoolExecutor, windows: deque[_Window], step: int
    ) -> None:
        """Announce and drop those that the batch of a step makes wanted."""
        first, end = step * self.global_batch, (step + 1) * self.global_batch
        while windows and windows[0].wanted < end:
            window = windows.popleft()
            if window.end > first:  # else it lies behind us: we go on from the midst of an epoch
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
        pieces = [
            slice(first, first + self.source.piece)
            for first in range(0, len(clips), self.source.piece)
        ]
        return _Begun(
            epoch,
            step,
            index,
            rows,
            picked.shape,
            [
                makers.submit(self._fill, side, rows[:, piece], clips[piece], epoch)
                for piece in pieces
            ],
        )

    def _fill(
        self, side: SideStream, rows: Tensor, picked: np.ndarray, epoch: int
    ) -> tuple[np.ndarray, torch.cuda.Event | None]:
        with side.making():
            return self.source.fill(rows, picked, self._drawn(epoch)), side.mark()

    def _finish(self, begun: _Begun, side: SideStream) -> Batch:
        present, marks = zip(*(piece.result() for piece in begun.pieces), strict=True)
        side.hand_over(list(marks), [begun.rows])
        return self._batch(begun, np.concatenate(present).reshape(begun.slots))

    def _drawn(self, epoch: int) -> int:
        """The epoch that random choices are those of."""
        return epoch if self.training else 0

    def _batch(self, begun: _Begun, slots: np.ndarray) -> Batch:
        views, device, index = self.source.views, self.source.device, begun.index
        valid = np.logical_or.reduce(slots, axis=1)
        padded = index == PADDING

        def rows(values: np.ndarray, missing: float, where: np.ndarray) -> Tensor:
            filled = np.where(where, np.array(missing, dtype=values.dtype), values[index])
            return to_device(np.tile(filled, views), device)

        clips = begun.rows.flatten(0, 1)
        return Batch(
            clips=clips
            if self.dataset.slots == 1
            else clips.unflatten(0, (-1, self.dataset.slots)),
            slots=to_device(np.tile(slots, (views, 1)), device),
            valid=to_device(np.tile(valid, views), device),
            labels={
                task: rows(values, MISSING_CLASS if values.dtype == np.int64 else np.nan, ~valid)
                for task, values in self.dataset.labels.items()
            },
            key=["" if item == PADDING else self.dataset.key[item] for item in index] * views,
            study=rows(self.dataset.study, -1, padded),
            exam=rows(self.dataset.exam, -1, padded),
            subject=rows(self.dataset.subject, -1, padded),
            sweep=rows(self.dataset.sweep, -1, padded),
            index=to_device(np.tile(index, views), device),
            views=views,
            epoch=begun.epoch,
            step=begun.step,
        )


def _compute_alone() -> None:
    """Makers work side by side, each on its own piece; torch's threads within an operation would
    only wait.
    """
    torch.set_num_threads(1)
