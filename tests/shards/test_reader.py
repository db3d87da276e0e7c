"""Reading clips: storage that fails for a while, and shards that the kernel is to fetch."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pandas as pd
import pytest

from bsou_dist.shards import patience
from bsou_dist.shards.manifest import PLACE, read_manifest, read_member
from bsou_dist.shards.patience import Unreadable
from bsou_dist.shards.reader import ShardReader

Pread = Callable[[int, int, int], bytes]


@pytest.fixture
def reader(packed: tuple[Path, Path]) -> ShardReader:
    return ShardReader(packed[0], read_manifest(packed[0]))


def at_once(monkeypatch: pytest.MonkeyPatch, tries: int) -> None:
    monkeypatch.setattr(patience, "WAITS_S", (0.0,) * (tries - 1))


class Storage:
    """What stands under `os.pread`; fails the next reads with the errors it is given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *errors: int) -> None:
        self.errors = list(errors)
        self.descriptors: list[int] = []
        self._pread: Pread = os.pread
        monkeypatch.setattr(os, "pread", self.read)

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        self.descriptors.append(descriptor)
        if self.errors:
            code = self.errors.pop(0)
            raise OSError(code, os.strerror(code))
        return self._pread(descriptor, size, offset)


def test_a_read_that_fails_is_tried_again_on_a_shard_opened_anew(
    reader, packed, monkeypatch, capsys
) -> None:
    at_once(monkeypatch, 4)
    folder, manifest = packed[0], read_manifest(packed[0])
    expected = read_member(folder, manifest.iloc[0])
    opened: list[object] = []
    open_ = os.open
    monkeypatch.setattr(os, "open", lambda *args: opened.append(args[0]) or open_(*args))
    Storage(monkeypatch, errno.EIO, errno.ESTALE, errno.ETIMEDOUT)
    assert reader.read(0) == expected
    assert len(opened) == 4, "an old descriptor stays stale"
    [said] = capsys.readouterr().err.splitlines()
    assert said.startswith(f"note: {folder / manifest['shard'].iloc[0]} could not be read on ")
    assert "Input/output error" in said


def test_storage_that_stays_away_is_no_damaged_clip(reader, monkeypatch) -> None:
    at_once(monkeypatch, 3)
    storage = Storage(monkeypatch, *[errno.EIO] * 9)
    with pytest.raises(Unreadable, match=r"Input/output error, 3 times .* No clip was set aside"):
        reader.read(0)
    assert len(storage.errors) == 6


def test_a_shard_that_is_not_there_is_not_waited_for(reader, packed, monkeypatch) -> None:
    monkeypatch.setattr(patience, "WAITS_S", (3600.0,))
    storage = Storage(monkeypatch, errno.ENOENT)
    with pytest.raises(Unreadable, match=r"\.tar cannot be read: No such file or directory"):
        reader.read(0)
    assert len(storage.descriptors) == 1


def test_waiting_ends_with_whoever_wanted_the_clip(reader, monkeypatch) -> None:
    monkeypatch.setattr(patience, "WAITS_S", (3600.0,))
    Storage(monkeypatch, errno.EIO)
    stopped = Event()
    stopped.set()
    with pytest.raises(Unreadable, match="given up"):
        reader.read(0, stopped)


def test_what_comes_in_pieces_is_put_together(reader, packed, monkeypatch) -> None:
    folder, manifest = packed[0], read_manifest(packed[0])
    expected = read_member(folder, manifest.iloc[1])
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda file, size, offset: pread(file, min(size, 99), offset))
    assert reader.read(1) == expected


def test_a_shard_that_ends_before_its_own_size_is_no_damaged_clip(reader, monkeypatch) -> None:
    at_once(monkeypatch, 2)
    monkeypatch.setattr(os, "pread", lambda file, size, offset: b"")
    with pytest.raises(Unreadable, match="ended before its own size"):
        reader.read(0)


def resident(path: Path) -> float:
    """Share of a file's pages that are in the page cache, as mincore(2) tells."""
    libc = ctypes.CDLL(None, use_errno=True)
    size = ctypes.c_size_t(path.stat().st_size)
    pages = -(-size.value // mmap.PAGESIZE)
    states = (ctypes.c_ubyte * pages)()
    libc.mmap.restype = ctypes.c_void_p
    with path.open("rb") as file:
        read_only, shared = ctypes.c_int(mmap.PROT_READ), ctypes.c_int(mmap.MAP_SHARED)
        beginning = ctypes.c_long(0)
        place = libc.mmap(None, size, read_only, shared, ctypes.c_int(file.fileno()), beginning)
    address = ctypes.c_void_p(place)
    found = libc.mincore(address, size, states)
    libc.munmap(address, size)
    assert found == 0, os.strerror(ctypes.get_errno())
    return sum(state & 1 for state in states) / pages


def evict(path: Path) -> None:
    """Have the kernel forget a file's pages."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def test_all_of_a_shard_is_prefetched(tmp_path) -> None:
    """A single request for it is cut to the read-ahead size, 128 kB to 8 MiB."""
    shard = tmp_path / "000000.tar"
    shard.write_bytes(os.urandom(1 << 20) * 24)
    evict(shard)
    if resident(shard) > 0.01:
        pytest.skip(f"the file system of {tmp_path} keeps pages that it is told to drop")
    row = {"shard": shard.name, "key": "a", "frames": 1, **dict.fromkeys(PLACE, 0)}
    ShardReader(tmp_path, pd.DataFrame([row])).prefetch_shard(0)
    deadline = time.monotonic() + 120
    while resident(shard) < 1 and time.monotonic() < deadline:
        time.sleep(0.01)  # the kernel fetches in the background
    assert resident(shard) == 1
