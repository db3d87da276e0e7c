"""Signals that ask a run to stop.

The run saves at the next step boundary and ends, and the same command goes on from there. SIGTERM,
SIGUSR1 and SIGUSR2 are what schedulers and launchers send before they end a job; SIGINT is Ctrl-C.
A handler only takes a note: nothing that needs the other ranks may happen inside one.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ASKS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT)


class Stopped(Exception):
    """A run was asked to stop and has saved; raised on every rank. `by` is the signal."""

    def __init__(self, by: signal.Signals) -> None:
        super().__init__(f"stopped by {by.name}")
        self.by = by


class StopSignals:
    """The signal that this process has received, if any.

    Attributes:
        received: number of the last signal; 0 where there was none.
    """

    def __init__(self) -> None:
        self.received = 0
        self._raising = False

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note signals instead of ending by them. A second Ctrl-C interrupts at once."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may handle signals
            return
        before = {number: signal.signal(number, self._note) for number in ASKS}
        # A launcher may have blocked them until there is somebody to note them.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKS)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.received:
            raise KeyboardInterrupt
        if number == signal.SIGINT and sys.stderr.isatty():
            print("\nstopping soon; press Ctrl-C again to stop at once", file=sys.stderr)
        self.received = number
        if self._raising:
            raise Stopped(signal.Signals(number))

    @contextmanager
    def raised(self) -> Iterator[None]:
        """Let a signal raise `Stopped` at once.

        For what one process does alone, and what leaves nothing half done.
        """
        self._raising = True
        try:
            if self.received:
                raise Stopped(signal.Signals(self.received))
            yield
        finally:
            self._raising = False
