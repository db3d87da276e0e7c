"""Map over processes: results in order, bounded memory, and a crash that costs one item."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 3  # items in flight per worker


class Crashed:
    """Takes the place of a result whose worker process died."""


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Generator[Result | Crashed, None, None]:
    """Apply a picklable `function` to every item, yielding results in the order of the items.

    A process that dies (a decoder that crashes on damaged bytes, or memory that runs out) takes its pool with it. The
    first unfinished item is then tried again alone, and is `Crashed` if it kills that process too; the rest go on.

    Args:
        workers: number of processes; 0 works in this one, without that protection.
    """
    if workers == 0:
        yield from map(function, items)
        return
    todo = iter(items)
    pool = _start(workers)
    running: deque[tuple[Item, Future[Result]]] = deque()
    try:
        while True:
            for item in todo:
                running.append((item, _submit(pool, function, item)))
                if len(running) >= _AHEAD * workers:
                    break
            if not running:
                return
            item, future = running.popleft()
            result: Result | Crashed
            try:
                result = future.result()
            except BrokenProcessPool:
                pool.shutdown()
                result = _alone(function, item)
                pool = _start(workers)
                running = deque((later, _submit(pool, function, later)) for later, _ in running)
            yield result
    finally:
        pool.shutdown(cancel_futures=True)


def _start(workers: int) -> ProcessPoolExecutor:
    # 'spawn', because a fork of a process that runs threads (as its libraries may) can hang.
    return ProcessPoolExecutor(workers, get_context("spawn"), initializer=_leave_interrupts_to_the_parent)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@contextmanager
def _starting_processes() -> Iterator[None]:
    """Submitting starts workers, which inherit this mask: an interrupt cannot reach one before it ignores them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _submit(pool: ProcessPoolExecutor, function: Callable[[Item], Result], item: Item) -> Future[Result]:
    try:
        with _starting_processes():
            return pool.submit(function, item)
    except BrokenProcessPool as error:  # noticed before the result of the item that broke it was asked for
        failed: Future[Result] = Future()
        failed.set_exception(error)
        return failed


def _alone(function: Callable[[Item], Result], item: Item) -> Result | Crashed:
    with _start(1) as pool:
        try:
            with _starting_processes():
                future = pool.submit(function, item)
            return future.result()
        except BrokenProcessPool:
            return Crashed()
