"""A watchdog that ends a run in which a rank hangs, and says which rank and where.

Without it all other ranks would wait for ever. Every rank's main thread notes where it stands; a
thread beside it publishes that in the store that the ranks met at. All ranks pass the same places
in the same order, so the one that the others wait for has passed the fewest.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from functools import partial
from pathlib import Path

from torch.distributed import Store

from bsou_dist.engine.flight_recorder import keep_flight_record
from bsou_dist.engine.rank_failure import STORE_TIMEOUT_S, within

LOOKS_PER_LIMIT = 8
"""How often the thread looks within the time that a rank may stand."""


class Watchdog:
    """A thread that ends this process with code 1 once it has stood at one place for too long.

    Args:
        store: shared by all ranks, not used by any other thread.
        rank, world: this process and the number of processes.
        limit_s: how long this process may stand at one place, in seconds.
        folder: where the last collectives of a process that hangs are kept, for the run's record.
    """

    def __init__(
        self, store: Store, rank: int, world: int, limit_s: float, folder: Path | None
    ) -> None:
        self._store = store
        self._rank = rank
        self._world = world
        self._limit_s = limit_s
        self._folder = folder
        self._places = 0
        """How many places the main thread has come to."""
        self._where: str | None = None
        self._since = time.monotonic()
        self._ended = threading.Event()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def at(self, where: str | None) -> None:
        """Note that the main thread has come to a place; None: it may stay as long as it likes."""
        self._since = time.monotonic()
        self._where = where
        self._places += 1

    def close(self) -> None:
        """Stop watching."""
        self._ended.set()

    def _watch(self) -> None:
        period_s = self._limit_s / LOOKS_PER_LIMIT
        while True:
            began = time.monotonic()
            if self._ended.wait(period_s):
                return
            overslept_s = time.monotonic() - began - period_s
            if overslept_s > 2 * period_s:
                # The whole process was suspended: it was not the main thread that stood still.
                self._since += overslept_s
            places, where = self._places, self._where
            try:
                within(STORE_TIMEOUT_S, partial(self._publish, places, where))
                if self._stood_s() > self._limit_s:
                    # By then every rank that lives has published where it stands.
                    time.sleep(period_s)
                    if self._places == places:
                        self._end(within(STORE_TIMEOUT_S, self._verdict))
            except Exception as error:
                if self._stood_s() > self._limit_s:
                    self._end(
                        f"rank {self._rank} has stood for {self._stood_s():.0f} s at: {where}. "
                        "The others cannot be asked: the store that rank 0 or its launcher keeps "
                        f"does not answer ({type(error).__name__}). Look at rank 0 first"
                    )

    def _publish(self, places: int, where: str | None) -> None:
        self._store.set(f"place/{self._rank}", json.dumps([places, where]))

    def _stood_s(self) -> float:
        """How long the main thread has stood where it stands, in seconds; 0 where it may."""
        if self._where is None:
            return 0.0
        return time.monotonic() - self._since

    def _verdict(self) -> str | None:
        """What to say; None if another rank says it."""
        stood_s = self._stood_s()
        speaker = self._store.compare_set("verdict", "", str(self._rank))
        if speaker != str(self._rank).encode():
            time.sleep(1.0)  # the other must speak before launchers see this process end
            return None
        places: dict[int, int] = {}
        where: dict[int, str | None] = {}
        for rank in range(self._world):
            if self._store.check([f"place/{rank}"]):
                places[rank], where[rank] = json.loads(self._store.get(f"place/{rank}"))
        silent = [rank for rank in range(self._world) if rank not in places]
        if silent:
            return (
                f"rank {_named(silent)} has given no sign so far; the others have waited for "
                f"{stood_s:.0f} s"
            )
        fewest = min(places.values())
        late = [rank for rank in places if places[rank] == fewest]
        waiting = [rank for rank in places if rank not in late]
        if not waiting:
            return (
                f"all {self._world} ranks have stood for {stood_s:.0f} s at: {where[0]}. If it is "
                "a collective, look at the network between the nodes"
            )
        return (
            f"rank {_named(late)} has stood for about {stood_s:.0f} s at: {where[late[0]]}. "
            f"The others wait for it at: {where[waiting[0]]}"
        )

    def _end(self, message: str | None) -> None:
        """End this process, with `message` and the stack of its main thread on stderr."""
        if self._ended.is_set():
            return
        if message:
            print(
                f"bsou: hung: {message}. This run ends; the same command goes on from its last "
                "checkpoint. engine.hang_minutes sets how long a rank may stand",
                file=sys.stderr,
            )
        print(f"rank {self._rank} stands here:", file=sys.stderr, flush=True)
        frame = sys._current_frames().get(threading.main_thread().ident or 0)
        traceback.print_stack(frame, file=sys.stderr)
        if self._folder:
            record = keep_flight_record(self._folder, self._rank)
            if record:
                print(f"its last collectives are in {record}", file=sys.stderr)
        sys.stderr.flush()
        os._exit(1)  # the main thread hangs and cannot be asked to end


def _named(ranks: list[int]) -> str:
    return ", ".join(map(str, ranks))
