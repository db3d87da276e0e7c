"""Events kept first and sent behind training's back: a local spool, a queue, and its thread."""

from __future__ import annotations

import json
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from bsou_dist.common.errors import InputError

logger = logging.getLogger(__name__)

Event = dict[str, Any]
"""What a run has recorded: 'event' is its kind, 'run' the run's id, 'time_ms' when it was."""

POLL_S = 0.02


class Delivery:
    """Appends every event to a spool, then sends it from a daemon thread until it gets through.

    Events arrive in order.

    Args:
        spool: JSON lines, appended to; its folder is made.
        send: brings one event to its destination or raises. It is called from the thread, and may
            be called again with an event that it has seen.
        hopeless: whether trying this event again after this error is pointless; it is then left to
            the spool.
        destination: named in the one warning that is logged when something goes wrong.
        retry_s: pause before the next attempt, in seconds.
    """

    def __init__(
        self,
        spool: Path,
        send: Callable[[Event], None],
        hopeless: Callable[[Event, Exception], bool],
        destination: str,
        retry_s: float,
    ) -> None:
        self._spool = spool
        self._send = send
        self._hopeless = hopeless
        self._destination = destination
        self._retry_s = retry_s
        self._down = False
        self._warned = False
        self._queue: queue.Queue[Event] = queue.Queue()
        spool.parent.mkdir(parents=True, exist_ok=True)
        threading.Thread(target=self._send_forever, name="tracking", daemon=True).start()

    def put(self, event: Event) -> None:
        """Keep an event and have it sent; returns at once."""
        try:
            line = json.dumps(event).encode() + b"\n"
            with self._spool.open("a+b") as spool:
                if _ends_within_a_line(spool):
                    line = b"\n" + line
                spool.write(line)
        except OSError as error:  # a full disk must not stop training by way of its diary
            self._warn_once(f"cannot write {self._spool} ({error})")
        self._queue.put(event)

    def wait(self, wait_s: float) -> None:
        """Wait until all is sent, but `wait_s` seconds at most.

        While the destination is down this does not wait at all.
        """
        deadline = time.monotonic() + wait_s
        while self._queue.unfinished_tasks and not self._down and time.monotonic() < deadline:
            time.sleep(POLL_S)
        if self._queue.unfinished_tasks:
            logger.warning(
                "not everything has reached %s yet; all of it is kept in %s",
                self._destination,
                self._spool,
            )

    def _send_forever(self) -> None:
        while True:
            event = self._queue.get()
            while not self._try_to_send(event):
                time.sleep(self._retry_s)
            self._queue.task_done()

    def _try_to_send(self, event: Event) -> bool:
        """Whether the event is settled: sent, or left to the spool for good."""
        try:
            self._send(event)
        except Exception as error:  # whatever goes wrong at the other end, training goes on
            self._down = not self._hopeless(event, error)
            self._warn_once(
                f"{self._destination} did not take a {event['event']} event ({first_line(error)}); "
                f"training goes on, and everything is kept in {self._spool}"
            )
        else:
            self._down = False
        return not self._down

    def _warn_once(self, message: str) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(message)


def read_spool(spool: Path) -> list[Event]:
    """Read the events of a spool, in order.

    Raises:
        InputError: there is no such file.
    """
    if not spool.is_file():
        raise InputError(
            f"no tracking spool at {spool}; a tracked run keeps one as tracking.jsonl in its folder"
        )
    events = []
    for line in spool.read_bytes().splitlines():
        try:
            events.append(json.loads(line))
        except ValueError:  # what a killed process or a full disk left of an event
            continue
    return events


def _ends_within_a_line(spool: BinaryIO) -> bool:
    """Whether a process that wrote the file was killed in the midst of an event."""
    if spool.seek(0, os.SEEK_END) == 0:
        return False
    spool.seek(-1, os.SEEK_END)
    return spool.read(1) != b"\n"


def first_line(error: Exception) -> str:
    """An error in one line, for a message."""
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
