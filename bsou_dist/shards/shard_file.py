"""One shard: a tar in WebDataset's layout and its DALI index, the same bytes for the same clips."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bsou_dist.common.files import write_text
from bsou_dist.shards.codec import EXTENSIONS

_HEADER_BYTES = tarfile.BLOCKSIZE  # USTAR needs no more for names under 100 characters
_INDEX_VERSION = "v1.2"


class ShardWriter:
    """Writes `NAME.tar` and `NAME.idx` under temporary names; only `commit` makes them appear.

    Use as a context manager: without a commit, the temporary files are removed.
    """

    def __init__(self, shards_dir: Path, name: str) -> None:
        self._tar_path = shards_dir / f"{name}.tar"
        self._temporary = shards_dir / f"{name}.tar.tmp"
        self._rows: list[dict[str, Any]] = []

    def __enter__(self) -> ShardWriter:
        self._file = self._temporary.open("wb")
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.USTAR_FORMAT)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def add(self, record: Mapping[str, Any], data: bytes) -> dict[str, Any]:
        """Add a clip.

        Args:
            record: its JSON member, with key and codec.
            data: its clip member.

        Returns:
            The manifest columns shard, json_offset, json_size, offset and size.
        """
        key = record["key"]
        codec = record["codec"]
        json_bytes = json.dumps(record, separators=(",", ":"), sort_keys=True).encode()
        json_offset = self._add_member(f"{key}.json", json_bytes)
        offset = self._add_member(f"{key}.{EXTENSIONS[codec]}", data)
        row = {
            "shard": self._tar_path.name,
            "json_offset": json_offset,
            "json_size": len(json_bytes),
            "offset": offset,
            "size": len(data),
        }
        self._rows.append({**row, "key": key, "codec": codec})
        return row

    def _add_member(self, name: str, data: bytes) -> int:
        # Its owner, group and time stay 0: bytes must not depend on who packs when.
        info = tarfile.TarInfo(name)
        info.size = len(data)
        info.mode = 0o644
        offset = self._tar.offset + _HEADER_BYTES
        self._tar.addfile(info, io.BytesIO(data))
        return offset

    def commit(self) -> None:
        """Finish both files, put them on disk and give them their names."""
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        index = self._tar_path.with_suffix(".idx")
        write_text(index, index_text(self._rows))
        self._temporary.replace(self._tar_path)

    def remove(self) -> None:
        """Remove both files, if they are there under their names."""
        for suffix in (".tar", ".idx"):
            self._tar_path.with_suffix(suffix).unlink(missing_ok=True)


def tar_members(path: Path) -> Iterator[tarfile.TarInfo]:
    """Yield the members of a tar, each with `offset_data`, without reading what they hold.

    Extensions for long names are members like any other here: shards have none, and Python's own
    reader takes as much memory for a name as its header claims.

    Raises:
        tarfile.TarError: a header is damaged, or a member or the tar ends too early.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        end = os.fstat(file.fileno()).st_size
        place = 0
        while True:
            file.seek(place)
            header = file.read(tarfile.BLOCKSIZE)
            if header == bytes(tarfile.BLOCKSIZE):  # which ends a tar
                return
            member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
            member.offset_data = place + tarfile.BLOCKSIZE
            if not 0 <= member.size <= end - member.offset_data:
                raise tarfile.ReadError("a member is larger than what is left of the tar")
            yield member
            blocks = -(-member.size // tarfile.BLOCKSIZE)
            place = member.offset_data + blocks * tarfile.BLOCKSIZE


def index_text(rows: Iterable[Mapping[str, Any]]) -> str:
    """DALI's index of a shard (what `wds2idx` writes), from its manifest rows in order."""
    lines = []
    for row in rows:
        key = row["key"]
        extension = EXTENSIONS[row["codec"]]
        json_part = f"json {row['json_offset']} {row['json_size']} {key}.json"
        clip_part = f"{extension} {row['offset']} {row['size']} {key}.{extension}"
        lines.append(f"{json_part} {clip_part}\n")
    return f"{_INDEX_VERSION} {len(lines)}\n" + "".join(lines)
