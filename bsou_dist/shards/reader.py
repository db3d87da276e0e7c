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
    """A file descriptor that closes with its last user.

    So eviction from the cache cannot pull it from under a thread that reads.
    """

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "number"):  # not so where the open failed
            os.close(self.number)


class ShardReader:
    """Reads clips as `shards.manifest.read_member` does, and checks them against the manifest.

    Shards are held open, because network file systems are slow to open them. Several threads may
    use one reader.

    Attributes:
        shard: int64 (n,), the number of each clip's shard, by first appearance.
        names: the file name of each shard, by its number.
    """

    def __init__(self, shards_dir: Path, manifest: pd.DataFrame) -> None:
        self.shard, names = pd.factorize(manifest["shard"])
        self.names: list[str] = names.tolist()
        self._places = manifest[[*PLACE]].to_numpy(dtype=np.int64)
        self._keys = manifest["key"].array
        self._frames = manifest["frames"].to_numpy(dtype=np.int64)
        self._open = lru_cache(maxsize=OPEN_SHARDS)(lambda shard: _Descriptor(shards_dir / shard))

    def read(self, row: int) -> tuple[dict[str, Any], bytes]:
        """Read the JSON record and the encoded bytes of manifest row `row`, in one read.

        Raises:
            OSError: the shard cannot be read.
            CorruptClip: it is cut short, or holds at that place no record or another clip's.
        """
        shard = self.names[self.shard[row]]
        descriptor = self._open(shard)  # kept in a name, or another thread could see it closed
        meta, data = member_at(descriptor.number, shard, *self._places[row].tolist())
        found_key, found_frames = meta["key"], meta["frames"]
        key, frames = self._keys[row], int(self._frames[row])
        if (found_key, found_frames) != (key, frames):
            raise CorruptClip(
                f"{shard} holds {found_frames} frames of {found_key!r} at byte "
                f"{self._places[row, 0]}; the manifest expects {frames} of {key!r}"
            )
        return meta, data

    def prefetch(self, row: int) -> None:
        """Let the kernel fetch a row's bytes in the background.

        Slow storage answers many requests at once.
        """
        start, _, offset, size = self._places[row].tolist()
        end = offset + size
        self._advise(self.names[self.shard[row]], start, end - start)

    def prefetch_shard(self, number: int) -> None:
        """Let the kernel fetch a whole shard in the background, from its beginning to its end.

        The page cache serves all processes of a machine, so that it is read once for all of them.
        """
        self._advise(self.names[number], 0, 0)

    def _advise(self, shard: str, start: int, length: int) -> None:
        with suppress(OSError, OverflowError):  # whoever reads the clip says what is wrong with it
            descriptor = self._open(shard)
            os.posix_fadvise(descriptor.number, start, length, os.POSIX_FADV_WILLNEED)
