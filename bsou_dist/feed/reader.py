"""Bytes of clips out of tar shards, at the offsets that the manifest gives."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bsou_dist.shards.codec import CorruptClip

OPEN_SHARDS = 64
"""Shards held open at once, well below the usual limit of 1,024 files."""


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
        self.shard, names = pd.factorize(manifest["shard"])
        self.names: list[str] = names.tolist()
        self._start, self._json_size, self._offset, self._size, self._frames = (
            manifest[column].to_numpy(dtype=np.int64)
            for column in ("json_offset", "json_size", "offset", "size", "frames"))
        self._keys = manifest["key"].array
        self._open = lru_cache(maxsize=OPEN_SHARDS)(lambda shard: _Descriptor(shards_dir / shard))

    def read(self, row: int) -> tuple[dict[str, Any], bytes]:
        """JSON record and encoded bytes of manifest row `row`, in one read.

        Raises:
            OSError: the shard cannot be read.
            CorruptClip: it is cut short, or holds at that place no record or another clip's.
        """
        shard, start, length = self._place(row)
        descriptor = self._open(shard)  # held until the read is done
        data = os.pread(descriptor.number, length, start)
        if len(data) < length:
            raise CorruptClip(f"{shard} ends {length - len(data)} bytes before the clip does")
        try:
            meta = json.loads(data[: self._json_size[row]])
        except ValueError:
            raise CorruptClip(f"{shard} has no JSON record at byte {start}") from None
        found, expected = (meta.get("key"), meta.get("frames")), (self._keys[row], int(self._frames[row]))
        if found != expected:
            raise CorruptClip(f"{shard} holds {found[1]} frames of {found[0]!r} at byte {start}; "
                              f"the manifest expects {expected[1]} of {expected[0]!r}")
        return meta, data[self._offset[row] - start :]

    def announce(self, row: int) -> None:
        """Let the kernel fetch a row's bytes in the background: slow storage answers many requests at once."""
        shard, start, length = self._place(row)
        self._advise(shard, start, length)

    def announce_shard(self, number: int) -> None:
        """Let the kernel fetch a whole shard in the background, from its beginning to its end.

        The page cache serves all processes of a machine, so that it is read once for all of them.
        """
        self._advise(self.names[number], 0, 0)

    def _place(self, row: int) -> tuple[str, int, int]:
        """Name of the shard, first byte and number of bytes."""
        start = int(self._start[row])
        return self.names[self.shard[row]], start, int(self._offset[row] + self._size[row]) - start

    def _advise(self, shard: str, start: int, length: int) -> None:
        try:
            descriptor = self._open(shard)
            os.posix_fadvise(descriptor.number, start, length, os.POSIX_FADV_WILLNEED)
        except OSError:
            pass  # whoever reads the clip says what is wrong with it
