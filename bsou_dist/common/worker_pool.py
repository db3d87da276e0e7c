"""A map over processes in which a bad item costs itself alone.

Results come in order and memory is bounded; an item that kills or holds up its process, or takes
too much memory, loses its result and no other.
"""

from __future__ import annotations

import resource
import signal
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 3
"""Items in flight per worker."""

_ATTEMPTS = 2
"""The first may fail by another's fault: memory that others filled, a machine put to sleep."""

# A fork of a process that runs threads, as its libraries may, can hang.
_SPAWN = get_context("spawn")


@dataclass(frozen=True)
class Limits:
    """What one item may take."""

    seconds: float
    """On the clock."""
    memory_mb: int
    """In units of 2^20 bytes, beyond what its process holds already."""


@dataclass(frozen=True)
class Lost:
    """Stands in the place of a result that an item has not given."""

    reason: str
    """A sentence about the item's file."""


def ordered_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    limits: Limits | None = None,
) -> Generator[Result | Lost, None, None]:
    """Apply a picklable `function` to every item, yielding results in the order of the items.

    An item whose process dies (a decoder that crashes on damaged bytes), or takes longer than its
    limit, is tried once more in a new process and then `Lost`; so is one that asks for more memory
    than its limit. No other item is touched.

    Args:
        workers: number of processes; 0 works in this one, without that protection.
        limits: for each item; None for none.

    Raises:
        RuntimeError: a worker process ends before its first item.
        Exception: what `function` raised, with the worker's traceback as a note.
    """
    if workers == 0:
        yield from map(function, items)
        return
    # Closing the one end wakes every thread that waits for the other: see `_Worker._receive`.
    closed, closing = _SPAWN.Pipe(duplex=False)
    crew = [_Worker(function, limits, closed) for _ in range(workers)]
    idle_workers: SimpleQueue[_Worker[Item, Result]] = SimpleQueue()
    for worker in crew:
        idle_workers.put(worker)

    def work(item: Item) -> Result | Lost:
        worker = idle_workers.get()
        try:
            return worker.run(item)
        finally:
            idle_workers.put(worker)

    # A thread only waits for its worker. The processes that it starts inherit its mask of signals:
    # no interrupt can reach them before they ignore it. Python's resource tracker comes first,
    # because whoever starts it is left with interrupts let through.
    resource_tracker.ensure_running()
    threads = ThreadPoolExecutor(
        workers, initializer=signal.pthread_sigmask, initargs=(signal.SIG_BLOCK, {signal.SIGINT})
    )
    remaining = iter(items)
    in_flight: deque[Future[Result | Lost]] = deque()
    try:
        while True:
            free_places = _AHEAD * workers - len(in_flight)
            for item in islice(remaining, free_places):
                in_flight.append(threads.submit(work, item))
            if not in_flight:
                return
            yield in_flight.popleft().result()
    finally:
        closing.close()
        threads.shutdown(cancel_futures=True)
        for worker in crew:
            worker.stop()


class _Worker(Generic[Item, Result]):
    """A process that works on one item after another, and is replaced when it fails."""

    def __init__(
        self, function: Callable[[Item], Result], limits: Limits | None, closed: Connection
    ) -> None:
        self._function = function
        self._limits = limits
        self._closed = closed
        self._process: Any = None
        self._pipe: Connection

    def run(self, item: Item) -> Result | Lost:
        """The item's result, or why there is none; raises what the function raised."""
        timeout_s = self._limits.seconds if self._limits else None
        reason = ""
        for _ in range(_ATTEMPTS):
            try:
                if self._process is None:
                    self._start()
                self._pipe.send(item)
                result, error = self._receive(timeout_s)
            except _TookTooLong as slow:
                reason = str(slow)
            except (EOFError, OSError):
                reason = "its decoder crashed"
            else:
                if error is not None:
                    raise error
                return result
            self.stop()
        return Lost(reason)

    def stop(self) -> None:
        """End the process, whatever it is at."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            self._process = None

    def _start(self) -> None:
        self._pipe, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(
            target=_serve, args=(theirs, self._function, self._limits), daemon=True
        )
        self._process.start()
        theirs.close()
        try:
            self._receive(None)  # it is ready: its imports do not count against the first item
        except (EOFError, OSError):
            raise RuntimeError(
                "a worker process ended before its first item; its message stands above"
            ) from None

    def _receive(self, timeout_s: float | None) -> Any:
        """Wait for what the process says next, unless the pool is closed meanwhile."""
        ready = wait([self._pipe, self._closed], timeout_s)
        if self._pipe in ready:
            return self._pipe.recv()
        if self._closed in ready:
            raise _NoLongerWanted
        raise _TookTooLong(f"it took more than {timeout_s:g} s")


class _TookTooLong(Exception):
    """An item has reached its limit of time."""


class _NoLongerWanted(Exception):
    """The pool is being closed, and nobody takes the result."""


def _serve(pipe: Connection, function: Callable[[Item], Result], limits: Limits | None) -> None:
    """Work as a worker process: say that it is ready, then answer every item with (result, error).

    Interrupts are the parent's: Ctrl-C reaches every process of a terminal.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    pipe.send(None)
    while True:
        try:
            item = pipe.recv()
        except EOFError:  # the parent is gone
            return
        result: Result | Lost | None = None
        error: Exception | None = None
        try:
            with _memory_limit(limits):
                result = function(item)
        except MemoryError as full:
            if limits is None:
                error = full
            else:
                result = Lost(f"it needed more than {limits.memory_mb} MB")
        except Exception as raised:
            raised.add_note(traceback.format_exc())
            error = raised
        pipe.send((result, error))


@contextmanager
def _memory_limit(limits: Limits | None) -> Iterator[None]:
    """Let an allocation fail that goes beyond the limit on top of what the process holds.

    Python raises MemoryError then.
    """
    if limits is None:
        yield
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit_bytes = _data_bytes() + limits.memory_mb * 2**20
    resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def _data_bytes() -> int:
    """Read what the kernel counts against RLIMIT_DATA: private memory that can be written."""
    status = Path("/proc/self/status").read_text()
    size_kib = status.split("VmData:")[1].split()[0]
    return int(size_kib) * 1024
