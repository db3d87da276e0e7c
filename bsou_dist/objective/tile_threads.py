"""Work on tiles, shared among the threads of a CPU: one thread to a tile, not all to each.

Threads within every small product would wait for each other there, and all for the slowest, which
on a machine that others use too is one that waits for its turn. Results depend neither on the
number of threads nor on their pace: whatever writes to the same rows does so in a fixed order.
"""

from __future__ import annotations

import heapq
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class Job:
    """Work on a pair of tiles."""

    rows: slice
    columns: slice
    both: bool
    """Whether what is computed serves the rows of `columns` too."""
    writes: tuple[int, ...]
    """Numbers of the tiles whose rows are written to."""


@contextmanager
def one_thread_per_product(device: torch.device) -> Iterator[int]:
    """How many threads may share tiles; within them, and beside them, torch computes with one.

    1 for a device that has its own ways of sharing work.
    """
    if device.type != "cpu":
        yield 1
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


def run_jobs(
    jobs: Sequence[Job],
    work: Callable[[Job, Tensor], None],
    scratch: Callable[[], Tensor],
    threads: int,
) -> None:
    """Do `work` for every job, on up to `threads` threads, each with a `scratch` of its own.

    Jobs that write to the same tile are done one after the other, in the order given.
    """
    # No more than can ever work at once.
    threads = min(threads, len({job.writes[0] for job in jobs}))
    if threads <= 1:
        room = scratch()
        for job in jobs:
            work(job, room)
        return
    queue = _Queue(jobs)

    def take_jobs() -> None:
        room = scratch()
        with torch.no_grad():
            while (number := queue.take()) is not None:
                try:
                    work(jobs[number], room)
                except BaseException:
                    queue.give_up()
                    raise
                queue.done(number)

    pool = _pool(threads, os.getpid())
    workers = [pool.submit(take_jobs) for _ in range(threads)]
    wait(workers)
    for worker in workers:
        worker.result()


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Threads that are kept, since the matrix library keeps room for each that it ever met.

    `process` is the number of this one: threads do not outlive a fork.
    """
    return ThreadPoolExecutor(
        threads, "bsou-tiles", initializer=torch.set_num_threads, initargs=(1,)
    )


class _Queue:
    """Jobs that are ready, the earliest first: those behind which no job waits for its tiles."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._waits_for = [0] * len(jobs)
        self._next: list[list[int]] = [[] for _ in jobs]
        last: dict[int, int] = {}
        """The last job so far that writes to a tile."""
        for number, job in enumerate(jobs):
            for earlier in {last[tile] for tile in job.writes if tile in last}:
                self._next[earlier].append(number)
                self._waits_for[number] += 1
            last.update(dict.fromkeys(job.writes, number))
        self._ready = [number for number, waits in enumerate(self._waits_for) if not waits]
        self._left = len(jobs)
        self._given_up = False
        self._changed = threading.Condition()

    def take(self) -> int | None:
        """Number of a job that is ready, once there is one; None where none is left to begin."""
        with self._changed:
            while not self._ready and self._left and not self._given_up:
                self._changed.wait()
            if self._given_up or not self._ready:
                return None
            return heapq.heappop(self._ready)

    def done(self, number: int) -> None:
        """Note that a job is done, and what becomes ready by it."""
        with self._changed:
            self._left -= 1
            for later in self._next[number]:
                self._waits_for[later] -= 1
                if not self._waits_for[later]:
                    heapq.heappush(self._ready, later)
            self._changed.notify_all()

    def give_up(self) -> None:
        """Begin no more jobs: one has failed."""
        with self._changed:
            self._given_up = True
            self._changed.notify_all()


def rounds(count: int) -> Iterator[tuple[int, int]]:
    """All pairs (i, j), i < j, of `count` tiles, such that those that stand together share none.

    The circle method of round-robin tournaments: `count` / 2 jobs at a time can be done at once.
    """
    seats = count + count % 2
    for turn in range(seats - 1):
        for place in range(seats // 2):
            one = (turn + place) % (seats - 1)
            other = (turn - place) % (seats - 1) if place else seats - 1
            if max(one, other) < count:
                yield min(one, other), max(one, other)
