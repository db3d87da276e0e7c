"""Map over processes: results in order, bounded memory, and an item that kills or holds up its
process costs itself.
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

_AHEAD = 3  # items in flight per worker
_ATTEMPTS = (
    2  # what befell an item may have been another's fault: a full memory, a machine put to sleep
)
_SPAWN = get_context(
    "spawn"
)  # because a fork of a process that runs threads (as its libraries may) can hang


@dataclass(frozen=True)
class Limits:
    """What one item may take: seconds on the clock, and MB of memory beyond what its process holds
    already.
    """

    seconds: float
    memory_mb: int


@dataclass(frozen=True)
class Lost:
    """Takes the place of a result that there is none of; `reason` is a sentence about the item's
    file.
    """

    reason: str


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
    closed, closing = _SPAWN.Pipe(duplex=False)
    crew = [_Worker(function, limits, closed) for _ in range(workers)]
    idle: SimpleQueue[_Worker[Item, Result]] = SimpleQueue()
    for worker in crew:
        idle.put(worker)

    def work(item: Item) -> Result | Lost:
        worker = idle.get()
        try:
            return worker.run(item)
        finally:
            idle.put(worker)

    # A thread only waits for its worker. The processes that it starts inherit its mask: no
    # interrupt can reach them before they ignore it. The tracker comes first, because whoever
    # starts it is left with interrupts let through.
    resource_tracker.ensure_running()
    threads = ThreadPoolExecutor(
        workers, initializer=signal.pthread_sigmask, initargs=(signal.SIG_BLOCK, {signal.SIGINT})
    )
    todo = iter(items)
    running: deque[Future[Result | Lost]] = deque()
    try:
        while True:
            running.extend(
                threads.submit(work, item) for item in islice(todo, _AHEAD * workers - len(running))
            )
            if not running:
                return
            yield running.popleft().result()
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
        reason = ""
        for _ in range(_ATTEMPTS):
            try:
                if self._process is None:
                    self._start()
                self._pipe.send(item)
                result, error = self._answer(self._limits.seconds if self._limits else None)
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
            self._answer(None)  # its imports do not count
        except (EOFError, OSError):
            raise RuntimeError(
                "a worker process ended before its first item; its message stands above"
            ) from None

    def _answer(self, seconds: float | None) -> Any:
        ready = wait([self._pipe, self._closed], seconds)
        if self._pipe in ready:
            return self._pipe.recv()
        if self._closed in ready:
            raise _NoLongerWanted
        raise _TookTooLong(f"it took more than {seconds:g} s")


class _TookTooLong(Exception):
    pass


class _NoLongerWanted(Exception):
    pass


def _serve(pipe: Connection, function: Callable[[Item], Result], limits: Limits | None) -> None:
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
    """MemoryError where the process asks for more than the limit on top of what it has."""
    if limits is None:
        yield
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (_held_bytes() + limits.memory_mb * 2**20, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def _held_bytes() -> int:
    """What the kernel counts against RLIMIT_DATA: private memory that can be written."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmData:")[1].split()[0]) * 1024
