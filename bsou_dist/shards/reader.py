"""Bytes of clips out of tar shards, at the offsets that the manifest gives."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bsou_dist.shards.codec import CorruptClip
from bsou_dist.shards.manifest import PLACE, member_at

OPEN_SHARDS = 64
"""Shards held open at once, well below the usual limit of 1,024 files."""


class _Descriptor:
    """A file descriptor that closes with its last user, so that eviction cannot pull it from under
    a reading thread.
    """

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "number"):  # not so where the open failed
            os.close(self.number)


class ShardReader:
    """`shards.manifest.read_member` with the shards held open, which network file systems are slow
    to do; the record is checked against the manifest. Safe to use from several threads.

    Attributes:
        shard: int64 (n,), the number of each clip's shard, by first appearance. names: their file
            names.
    """

    def __init__(self, shards_dir: Path, manifest: pd.DataFrame) -> None:
        self.shard, names = pd.factorize(manifest["shard"])
        self.names: list[str] = names.tolist()
        self._places = manifest[[*PLACE]].to_numpy(dtype=np.int64)
        self._keys, self._frames = (
            manifest["key"].array,
            manifest["frames"].to_numpy(dtype=np.int64),
        )
        self._open = lru_cache(maxsize=OPEN_SHARDS)(lambda shard: _Descriptor(shards_dir / shard))

    def read(self, row: int) -> tuple[dict[str, Any], bytes]:
        """JSON record and encoded bytes of manifest row `row`, in one read.

        Raises:
            OSError: the shard cannot be read.
            CorruptClip: it is cut short, or holds at that place no record or another clip's.
        """
        shard = self.names[self.shard[row]]
        descriptor = self._open(shard)  # held until the read is done
        meta, data = member_at(descriptor.number, shard, *self._places[row].tolist())
        found, expected = (
            (meta.get("key"), meta.get("frames")),
            (self._keys[row], int(self._frames[row])),
        )
        if found != expected:
            raise CorruptClip(
                f"{shard} holds {found[1]} frames of {found[0]!r} at byte {self._places[row, 0]}; "
                f"the manifest expects {expected[1]} of {expected[0]!r}"
            )
        return meta, data

    def prefetch(self, row: int) -> None:
        """Let the kernel fetch a row's bytes in the background: slow storage answers many requests
        at once.
        """
        start, _, offset, size = self._places[row].tolist()
        self._advise(self.names[self.shard[row]], start, offset + size - start)

    def prefetch_shard(self, number: int) -> None:
        """Let the kernel fetch a whole shard in the background, from its beginning to its end.

        The page cache serves all processes of a machine, so that it is read once for all of them.
        """
        self._advise(self.names[number], 0, 0)

    def _advise(self, shard: str, start: int, length: int) -> None:
        with suppress(OSError):  # whoever reads the clip says what is wrong with it
            os.posix_fadvise(self._open(shard).number, start, length, os.POSIX_FADV_WILLNEED)
