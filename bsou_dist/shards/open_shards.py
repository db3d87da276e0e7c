"""Shards held open: network file systems are slow to open them."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import ClassVar
from weakref import WeakValueDictionary

OTHER_FILES = 1024
"""Files and sockets that a process may need beside its shards; NCCL alone takes hundreds."""

FEWEST_SHARDS = 64
"""Shards held open where the limit on open files leaves no room for more."""


class Descriptor:
    """A file descriptor that closes with its last user.

    So whoever drops it from a cache cannot pull it from under a thread that reads.
    """

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "number"):  # not so where the open failed
            os.close(self.number)


class OpenShards:
    """The shards of a folder that this process holds open, for all readers of that folder.

    Several threads may use it.
    """

    _of_folders: ClassVar[WeakValueDictionary[Path, OpenShards]] = WeakValueDictionary()

    @classmethod
    def of(cls, folder: Path, names: Iterable[str]) -> OpenShards:
        """Those of a folder, with room for the shards of these names too."""
        key = folder.absolute()
        shards = cls._of_folders.get(key)
        if shards is None:
            shards = cls._of_folders[key] = cls(key)
        shards._expect(names)
        return shards

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._expected: set[str] = set()
        self._most = 0
        self._open: dict[str, Descriptor] = {}
        self._one_at_a_time = Lock()

    def descriptor(self, name: str) -> Descriptor:
        """The open shard of a name. Keep it in a variable while its number is in use.

        Raises:
            OSError: it cannot be opened.
        """
        found = self._open.get(name)
        if found is not None:
            return found
        # Without the lock: a shard that is slow to open must not hold up reading from others.
        opened = Descriptor(self._folder / name)
        with self._one_at_a_time:
            opened = self._open.setdefault(name, opened)  # another thread may have been faster
            while len(self._open) > self._most:
                oldest = next(iter(self._open))
                del self._open[oldest]
        return opened

    def forget(self) -> None:
        """Have every shard opened anew: after a file server is back, old descriptors are stale."""
        with self._one_at_a_time:
            self._open.clear()

    def _expect(self, names: Iterable[str]) -> None:
        before = len(self._expected)
        self._expected.update(names)
        if len(self._expected) > before:
            self._most = _room_for(len(self._expected), self._folder)


def _room_for(shards: int, folder: Path) -> int:
    """How many of so many shards may be open at once; raises the soft limit as far as it needs.

    Says so where the hard limit does not allow all of them.
    """
    wanted = shards + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return shards
    most = min(shards, max(FEWEST_SHARDS, soft - OTHER_FILES))
    if most < shards:
        print(
            f"note: of the {shards} shards in {folder} only {most} are held open at once, since "
            f"this process may open {soft} files; opening them again and again is slow on a "
            f"network file system: raise the hard limit on open files (ulimit -Hn) to {wanted}",
            file=sys.stderr,
        )
    return most
