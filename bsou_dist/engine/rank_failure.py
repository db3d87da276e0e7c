"""What a rank that fails alone tells the others, so that none of them waits for it.

An error that one rank has (out of memory, a refusal by its quarantine, a disk that is full on its
node) leaves the others in a collective that cannot end. So the rank writes into the store that all
of them met at which one it is, on which host, and what went wrong. A thread of every other rank
looks there once a second, says it and ends its process.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import NoReturn, TypeVar

import torch.distributed as dist

from bsou_dist.common.errors import OtherRankFailed
from bsou_dist.common.exit_codes import exit_code_of_error

LOOK_EVERY_S = 1.0
"""How often a rank looks whether another one has failed."""

STORE_TIMEOUT_S = 10.0
"""How long an answer of the store is waited for."""

KNOWN_WITHIN_S = 5.0
"""How long a rank that fails stays for the others to hear of it: the store may live in it."""

FIRST_WORD_S = 3.0
"""How long the others wait, so that a launcher sees the rank end first that has failed."""

OWN_END_S = 30.0
"""How long a rank may take to end by an error of its own that came after another rank's."""

MAX_ERROR_CHARS = 2000
FIRST, KNOWN = "first", "known"
"""Keys in the store: the first failure, and how many ranks know of one."""

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Failure:
    """The failure of a rank: which one, where, what it raised, and the code that it ends with."""

    rank: int
    host: str
    error: str
    code: int

    def __str__(self) -> str:
        return f"rank {self.rank} on {self.host} has failed: {self.error}"


class FailureWatch:
    """A thread that ends this process once another rank has said that it fails.

    Args:
        store: shared by all ranks, not used by any other thread.
        rank, world: this process and the number of processes.
    """

    def __init__(self, store: dist.Store, rank: int, world: int) -> None:
        self._store = store
        self._rank = rank
        self._world = world
        self._first: Failure | None = None
        """The first failure, once this rank has told its own."""
        self._fails = threading.Event()
        self._ended = threading.Event()
        # A store takes one question at a time, and the thread's may be under way.
        watched = store.clone()
        threading.Thread(target=self._watch, args=(watched,), name="failures", daemon=True).start()

    def tell(self, error: BaseException) -> Failure:
        """Tell the others that this rank ends by `error`; returns the first failure of all ranks.

        This one's where no rank has failed before, or where the store cannot be asked.
        """
        if self._first is not None:
            return self._first
        self._fails.set()
        text = f"{type(error).__name__}: {error}"[:MAX_ERROR_CHARS]
        if _is_broken_collective(error):
            text += " (another process may have been killed: look at the launcher's messages)"
        own = Failure(self._rank, socket.gethostname(), text, exit_code_of_error(error))
        self._first = own
        with suppress(Exception):  # this rank must end by its own error whatever else is broken
            written = within(STORE_TIMEOUT_S, partial(_write_first, self._store, own))
            self._first = written
        return self._first

    def wait_until_known(self) -> None:
        """Stay for a moment where this rank failed first, until all others know of it."""
        if self._first is None or self._first.rank != self._rank:
            return
        deadline = time.monotonic() + KNOWN_WITHIN_S
        with suppress(Exception):
            while time.monotonic() < deadline:
                known = within(STORE_TIMEOUT_S, partial(self._store.add, KNOWN, 0))
                if known >= self._world:
                    return
                time.sleep(0.05)

    def close(self) -> None:
        """Stop watching."""
        self._ended.set()

    def _watch(self, store: dist.Store) -> None:
        while not self._ended.wait(LOOK_EVERY_S):
            try:
                first = within(STORE_TIMEOUT_S, partial(_read_first, store))
            except TimeoutError:  # frozen, and that is for the watchdog to judge
                continue
            except Exception:  # gone with the process that kept it, whose end is seen elsewhere
                return
            if first is None:
                continue
            with suppress(Exception):
                within(STORE_TIMEOUT_S, partial(store.add, KNOWN, 1))
            if first.rank != self._rank:
                self._end(first)
            return

    def _end(self, first: Failure) -> None:
        """End this process because another one has failed."""
        if self._ended.wait(FIRST_WORD_S):
            return
        # Where this rank fails too, its own message is worth waiting for.
        if self._fails.is_set() and self._ended.wait(OWN_END_S):
            return
        end_now(f"bsou (rank {self._rank}): {first}. This process ends with it", first.code)


def raise_first(own: BaseException, first: Failure, rank: int) -> NoReturn:
    """Raise what ends this rank: its own error, or the first one where its own only follows.

    Raises:
        OtherRankFailed: a collective broke because another rank had failed.
    """
    if first.rank != rank and _is_broken_collective(own):
        line = str(own).splitlines()[0] if str(own) else type(own).__name__
        raise OtherRankFailed(f"{first}. This process ends with it ({line})", first.code) from own
    raise own


def end_now(message: str, code: int) -> None:
    """End this process with a message, whatever its main thread waits for."""
    print(message, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def within(limit_s: float, ask: Callable[[], Answer]) -> Answer:
    """The answer that `ask` gets from the store.

    Raises:
        TimeoutError: there is none in time; the store itself waits for ever where the process that
            keeps it is frozen.
    """
    answers: list[Answer] = []
    faults: list[Exception] = []

    def attempt() -> None:
        try:
            answers.append(ask())
        except Exception as error:
            faults.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(limit_s)
    if faults:
        raise faults[0]
    if not answers:
        raise TimeoutError
    return answers[0]


def _write_first(store: dist.Store, own: Failure) -> Failure:
    """Write a failure down unless there is one; returns the one that is there."""
    written = store.compare_set(FIRST, "", json.dumps(asdict(own)))
    return Failure(**json.loads(written))


def _read_first(store: dist.Store) -> Failure | None:
    if not store.check([FIRST]):
        return None
    return Failure(**json.loads(store.get(FIRST)))


def _is_broken_collective(error: BaseException) -> bool:
    """Whether an error is what torch raises where another process is gone from a collective."""
    return isinstance(error, dist.DistError) or type(error) is RuntimeError
