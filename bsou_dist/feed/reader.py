"""Bytes of clips out of tar shards, at the offsets that the manifest gives."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from bsou_dist.shards.codec import CorruptClip

OPEN_SHARDS = 64
"""Shards held open at once, well below the usual limit of 1,024 files."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def attempt_all(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> list[Result | Exception]:
    """Apply `function` to every item on `threads` threads; what it raises for an item takes the place of its result.

    Damaged bytes make codecs raise almost anything, and one clip's failure must not be its neighbours'. Running out of
    memory and a failed assertion are no clip's fault and are raised.
    """
    def attempt(item: Item) -> Result | Exception:
        try:
            return function(item)
        except (MemoryError, AssertionError):
            raise
        except Exception as error:
            return error

    if threads == 1:
        return [attempt(item) for item in items]
    with ThreadPoolExecutor(threads, thread_name_prefix="bsou-feed") as pool:
        return list(pool.map(attempt, items))


class _Descriptor:
    """A file descriptor that closes with its last user, so that eviction cannot pull it from under a reading thread."""

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "number"):  # not so where the open failed
            os.close(self.number)


class ShardReader:
    """`shards.manifest.read_member` with the shards held open, which network file systems are slow to do; the record
    is checked against the manifest. Safe to use from several threads.
    """

    def __init__(self, shards_dir: Path, manifest: pd.DataFrame) -> None:
        columns = ("shard", "json_offset", "json_size", "offset", "size", "key", "frames")
        self._places = list(zip(*(manifest[column].tolist() for column in columns), strict=True))
        self._open = lru_cache(maxsize=OPEN_SHARDS)(lambda shard: _Descriptor(shards_dir / shard))

    def read(self, row: int) -> tuple[dict[str, Any], bytes]:
        """JSON record and encoded bytes of manifest row `row`, in one read.

        Raises:
            OSError: the shard cannot be read.
            CorruptClip: it is cut short, or holds at that place no record or another clip's.
        """
        shard, json_offset, json_size, offset, size, key, frames = self._places[row]
        descriptor = self._open(shard)  # held until the read is done
        length = offset + size - json_offset
        data = os.pread(descriptor.number, length, json_offset)
        if len(data) < length:
            raise CorruptClip(f"{shard} ends {length - len(data)} bytes before the clip does")
        try:
            meta = json.loads(data[:json_size])
        except ValueError:
            raise CorruptClip(f"{shard} has no JSON record at byte {json_offset}") from None
        found = (meta.get("key"), meta.get("frames"))
        if found != (key, frames):
            raise CorruptClip(f"{shard} holds {found[1]} frames of {found[0]!r} at byte {json_offset}; "
                              f"the manifest expects {frames} of {key!r}")
        return meta, data[offset - json_offset :]

    def read_all(self, rows: Sequence[int], threads: int) -> list[tuple[dict[str, Any], bytes] | Exception]:
        """`read` for several rows, in parallel since network file systems answer slowly and many at once."""
        return attempt_all(self.read, rows, threads)
