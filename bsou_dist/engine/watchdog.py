"""A rank that hangs would keep all others waiting for ever; this ends the run instead, and says
which rank and where.

Every rank's main thread notes where it stands; a thread beside it publishes that in the store that
the ranks met at. All ranks pass the same places in the same order, so the one that others wait for
has passed the fewest.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from torch.distributed import Store

LOOKS_PER_LIMIT = 8
STORE_TIMEOUT_S = 10.0

Answer = TypeVar("Answer")


class Watchdog:
    """Ends this process with code 1 once it has stood at one place for longer than `limit_s`.

    Args:
        store: shared by all ranks, not used by any other thread.
    """

    def __init__(self, store: Store, rank: int, world: int, limit_s: float) -> None:
        self._store, self._rank, self._world, self._limit_s = store, rank, world, limit_s
        self._places = 0
        self._where: str | None = None
        self._since = time.monotonic()
        self._ended = threading.Event()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def at(self, where: str | None) -> None:
        """The main thread stands here now; None: somewhere that may take as long as it likes."""
        self._since = time.monotonic()
        self._where = where
        self._places += 1

    def close(self) -> None:
        self._ended.set()

    def _watch(self) -> None:
        period_s = self._limit_s / LOOKS_PER_LIMIT
        while True:
            began = time.monotonic()
            if self._ended.wait(period_s):
                return
            overslept_s = time.monotonic() - began - period_s
            if (
                overslept_s > 2 * period_s
            ):  # the whole process was suspended, and has not stood still
                self._since += overslept_s
            places, where = self._places, self._where
            try:
                _within(STORE_TIMEOUT_S, partial(self._publish, places, where))
                if self._stands_s() > self._limit_s:
                    time.sleep(
                        period_s
                    )  # until every rank that lives has published where it stands
                    if self._places == places:
                        self._end(_within(STORE_TIMEOUT_S, self._verdict))
            except Exception as error:
                if self._stands_s() > self._limit_s:
                    self._end(
                        f"rank {self._rank} has stood for {self._stands_s():.0f} s at: {where}. "
                        "The others "
                        "cannot be asked: the store that rank 0 or its launcher keeps does not "
                        "answer "
                        f"({type(error).__name__}). Look at rank 0 first"
                    )

    def _publish(self, places: int, where: str | None) -> None:
        self._store.set(f"place/{self._rank}", json.dumps([places, where]))

    def _stands_s(self) -> float:
        """How long the main thread has stood where it stands; 0 where it may."""
        return 0.0 if self._where is None else time.monotonic() - self._since

    def _verdict(self) -> str | None:
        """What to say; None if another rank says it."""
        stood_s = self._stands_s()
        if self._store.compare_set("verdict", "", str(self._rank)) != str(self._rank).encode():
            time.sleep(1.0)
            return None
        known: dict[int, Any] = {
            rank: json.loads(self._store.get(f"place/{rank}"))
            for rank in range(self._world)
            if self._store.check([f"place/{rank}"])
        }
        behind = min((places for places, _ in known.values()), default=0)
        late = [rank for rank, (places, _) in known.items() if places == behind]
        silent = sorted(set(range(self._world)) - set(known))
        if silent:
            return (
                f"rank {_named(silent)} has given no sign so far; the others have waited for "
                f"{stood_s:.0f} s"
            )
        if len(late) == self._world:
            return (
                f"all {self._world} ranks have stood for {stood_s:.0f} s at: {known[0][1]}. If it "
                "is a collective, "
                "look at the network between the nodes"
            )
        return (
            f"rank {_named(late)} has stood for about {stood_s:.0f} s at: {known[late[0]][1]}. "
            "The others wait for "
            f"it at: {known[next(rank for rank in known if rank not in late)][1]}"
        )

    def _end(self, message: str | None) -> None:
        if self._ended.is_set():
            return
        if message:
            print(
                f"bsou: hung: {message}. This run ends; the same command goes on from its last "
                "checkpoint. "
                "engine.hang_minutes sets how long a rank may stand",
                file=sys.stderr,
            )
        print(f"rank {self._rank} stands here:", file=sys.stderr, flush=True)
        frame = sys._current_frames().get(threading.main_thread().ident or 0)
        traceback.print_stack(frame, file=sys.stderr)
        sys.stderr.flush()
        os._exit(1)


def _named(ranks: list[int]) -> str:
    return ", ".join(map(str, ranks))


def _within(limit_s: float, ask: Callable[[], Answer]) -> Answer:
    """An answer of the store, which waits for ever where the process that keeps it is frozen;
    TimeoutError then.
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
