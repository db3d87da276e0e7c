"""Bytes of clips out of tar shards, at the offsets that the manifest gives."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pandas as pd

from bsou_dist.shards.codec import CorruptClip
from bsou_dist.shards.manifest import PLACE, member_at
from bsou_dist.shards.open_shards import OpenShards
from bsou_dist.shards.patience import Patience

PREFETCH_BYTES = 128 << 10
"""What the kernel is asked for at once.

It fetches no more than the read-ahead size of the device for one request, whatever that asks for;
most devices and network file systems have this one or a larger one.
"""

_NEVER = Event()


class ShardReader:
    """Reads clips as `shards.manifest.read_member` does, and checks them against the manifest.

    All its shards are held open, and a read that fails is tried again. Several threads may use one
    reader.

    Attributes:
        shard: int64 (n,), the number of each clip's shard, by first appearance.
        names: the file name of each shard, by its number.
    """

    def __init__(self, shards_dir: Path, manifest: pd.DataFrame) -> None:
        self.shard, names = pd.factorize(manifest["shard"])
        self.names: list[str] = names.tolist()
        self._folder = shards_dir
        self._places = manifest[[*PLACE]].to_numpy(dtype=np.int64)
        self._keys = manifest["key"].array
        self._frames = manifest["frames"].to_numpy(dtype=np.int64)
        self._shards = OpenShards.of(shards_dir, self.names)
        self._patience = Patience()

    def read(self, row: int, stopped: Event = _NEVER) -> tuple[dict[str, Any], memoryview]:
        """Read the JSON record and the encoded bytes of manifest row `row`, in one read.

        `stopped` ends the waiting for storage that fails.

        Raises:
            Unreadable: the storage fails: no clip's fault.
            CorruptClip: the shard is cut short, or holds at that place no record or another clip's.
        """
        shard = self.names[self.shard[row]]

        def attempt() -> tuple[dict[str, Any], memoryview]:
            # Kept in a name, or another thread could see it closed.
            descriptor = self._shards.descriptor(shard)
            return member_at(descriptor.number, shard, *self._places[row].tolist())

        meta, data = self._patience.read(
            attempt,
            self._folder / shard,
            before_again=self._shards.forget,
            stopped=stopped,
        )
        found_key, found_frames = meta["key"], meta["frames"]
        key, frames = self._keys[row], int(self._frames[row])
        if (found_key, found_frames) != (key, frames):
            raise CorruptClip(
                f"{shard} holds {found_frames} frames of {found_key!r} at byte "
                f"{self._places[row, 0]}; the manifest expects {frames} of {key!r}"
            )
        return meta, data

    def prefetch_shard(self, number: int, stopped: Event = _NEVER) -> None:
        """Let the kernel fetch a whole shard in the background, from its beginning to its end.

        The page cache serves all processes of a machine, so that it is read once for all of them.
        """
        with suppress(OSError):  # whoever reads the clips says what is wrong
            descriptor = self._shards.descriptor(self.names[number])
            size = os.fstat(descriptor.number).st_size
            for start in range(0, size, PREFETCH_BYTES):
                if stopped.is_set():
                    return
                os.posix_fadvise(descriptor.number, start, PREFETCH_BYTES, os.POSIX_FADV_WILLNEED)
