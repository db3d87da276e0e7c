"""Reading from storage that fails for a while: tried again, and no clip's fault."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Lock
from typing import TypeVar

from bsou_dist.common.errors import WorkFailed

WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Waits before a failed read is tried again: together a minute, which a file server needs to start
anew or to hand over to another.
"""

ANSWERS = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EACCES,
    errno.EPERM,
    errno.ELOOP,
)
"""What storage says that works: to wait would not help."""

SAY_EVERY_S = 60.0

_WHAT_NEXT = (
    "No clip was set aside for it. Once it can be read again, the same command goes on from what "
    "is saved"
)

Value = TypeVar("Value")


class Unreadable(WorkFailed):
    """A shard that could not be read, however often it was tried."""


class Patience:
    """Tries again what fails since storage does (EIO, ESTALE, ETIMEDOUT, ...).

    The first failure is said on stderr, others within the same minute are not: many threads read,
    and all meet the same outage.
    """

    def __init__(self) -> None:
        self._said_at: float | None = None
        self._one_at_a_time = Lock()

    def read(
        self,
        attempt: Callable[[], Value],
        path: Path,
        *,
        before_again: Callable[[], None],
        stopped: Event,
    ) -> Value:
        """What `attempt` returns, a read of `path`.

        Args:
            attempt: is called until it raises no OSError, a bounded number of times.
            path: named in messages.
            before_again: is called before each further attempt.
            stopped: ends the waiting at once, for whoever no longer wants the result.

        Raises:
            Unreadable: it failed each time, `stopped` was set while it waited, or the shard is not
                there or not to be read by this user.
        """
        for wait_s in WAITS_S:
            try:
                return attempt()
            except OSError as error:
                if error.errno in ANSWERS:
                    said = f"{path} cannot be read: {_reason(error)}. {_WHAT_NEXT}"
                    raise Unreadable(said) from error
                self._say(path, error)
                if stopped.wait(wait_s):
                    raise Unreadable(f"reading {path} was given up: {_reason(error)}") from error
                before_again()
        try:
            return attempt()
        except OSError as error:
            raise Unreadable(
                f"{path} could not be read: {_reason(error)}, {len(WAITS_S) + 1} times within "
                f"{sum(WAITS_S):.0f} s. {_WHAT_NEXT}"
            ) from error

    def _say(self, path: Path, error: OSError) -> None:
        now = time.monotonic()
        with self._one_at_a_time:
            if self._said_at is not None and now - self._said_at < SAY_EVERY_S:
                return
            self._said_at = now
        print(
            f"note: {path} could not be read on {os.uname().nodename} ({_reason(error)}); reading "
            f"is tried again for {sum(WAITS_S):.0f} s",
            file=sys.stderr,
            flush=True,
        )


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
