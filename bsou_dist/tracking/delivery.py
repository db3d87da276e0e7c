"""Events kept first, sent behind training's back: a local spool and a thread that empties a
queue.
"""

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


class Delivery:
    """Appends every event to a spool, then sends it from a daemon thread, in order, until it gets
    through.

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
            with self._spool.open("a+b") as spool:
                spool.write((b"\n" if _torn(spool) else b"") + json.dumps(event).encode() + b"\n")
        except OSError as error:  # a full disk must not stop training by way of its diary
            self._warn_once(f"cannot write {self._spool} ({error})")
        self._queue.put(event)

    def wait(self, wait_s: float) -> None:
        """Wait until all is sent, `wait_s` seconds at most, and not at all while the destination is
        down.
        """
        deadline = time.monotonic() + wait_s
        while self._queue.unfinished_tasks and not self._down and time.monotonic() < deadline:
            time.sleep(0.02)
        if self._queue.unfinished_tasks:
            logger.warning(
                "not everything has reached %s yet; all of it is kept in %s",
                self._destination,
                self._spool,
            )

    def _send_forever(self) -> None:
        while True:
            event = self._queue.get()
            while not self._is_settled(event):
                time.sleep(self._retry_s)
            self._queue.task_done()

    def _is_settled(self, event: Event) -> bool:
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
    """The events of a spool, in order; InputError if there is no such file."""
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


def _torn(spool: BinaryIO) -> bool:
    """Whether a file ends within a line."""
    if spool.seek(0, os.SEEK_END) == 0:
        return False
    spool.seek(-1, os.SEEK_END)
    return spool.read(1) != b"\n"


def first_line(error: Exception) -> str:
    """An error in one line, for a message."""
    return (str(error).splitlines() or [type(error).__name__])[0]
