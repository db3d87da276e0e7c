"""Shards as somebody of ill will would write them: one clip spoilt, and all checksums right."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from bsou_dist.shards.codec import EXTENSIONS
from bsou_dist.shards.manifest import manifest_of, read_manifest, read_member, write_manifest

Clip = tuple[Any, bytes]
"""The JSON member, as a value or as bytes, and the clip member."""

Spoil = Callable[[dict[str, Any], bytes], Clip]

HUGE = 1 << 62


def write_rows(manifest: pd.DataFrame, folder: Path) -> None:
    with_nones = manifest.astype(object).where(manifest.notna(), None)
    write_manifest(manifest_of(with_nones.to_dict("records")), folder)


def spoil_clip(
    folder: Path, row_number: int, spoil: Callable[[dict[str, Any], bytes], Clip]
) -> str:
    """Replace a clip's members in tar, index and manifest, checksum included; returns its key."""
    manifest = read_manifest(folder).copy()
    shard, key = manifest.loc[row_number, ["shard", "key"]]
    rows = manifest[manifest["shard"] == shard]
    members = [read_member(folder, row) for _, row in rows.iterrows()]
    index_lines = []
    with tarfile.open(folder / shard, "w", format=tarfile.USTAR_FORMAT) as tar:
        for (number, row), member in zip(rows.iterrows(), members, strict=True):
            record, data = spoil(*member) if number == row_number else member
            if not isinstance(record, bytes):
                record = json.dumps(record, separators=(",", ":"), sort_keys=True).encode()
            extension = EXTENSIONS[row["codec"]]
            json_place = _add(tar, f"{row['key']}.json", record)
            clip_place = _add(tar, f"{row['key']}.{extension}", data)
            places = [*json_place, *clip_place]
            manifest.loc[number, ["json_offset", "json_size", "offset", "size"]] = places
            manifest.loc[number, "sha256"] = hashlib.sha256(data).hexdigest()
            json_part = f"json {places[0]} {places[1]} {row['key']}.json"
            clip_part = f"{extension} {places[2]} {places[3]} {row['key']}.{extension}"
            index_lines.append(f"{json_part} {clip_part}\n")
    (folder / shard).with_suffix(".idx").write_text(
        f"v1.2 {len(index_lines)}\n" + "".join(index_lines)
    )
    write_rows(manifest, folder)
    return str(key)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> tuple[int, int]:
    """Add a member; returns its offset and size."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    offset = tar.offset + tarfile.BLOCKSIZE
    tar.addfile(info, io.BytesIO(content))
    return offset, len(content)


def huge_jpeg() -> bytes:
    """A few hundred bytes that claim 60,000 by 60,000 pixels."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(buffer, "JPEG")
    data = buffer.getvalue()
    side = (60_000).to_bytes(2, "big")
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + side + side + data[place + 4 :]


def with_picture(record: dict[str, Any], data: bytes, picture: bytes) -> Clip:
    """A clip whose first frame is another picture."""
    offsets = record["frame_offsets"]
    moved_by = len(picture) - offsets[1]
    moved = [0, *(offset + moved_by for offset in offsets[1:])]
    return {**record, "frame_offsets": moved}, picture + data[offsets[1] :]


def without(record: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != name}


HOSTILE_CLIPS: dict[str, Spoil] = {
    "a list": lambda record, data: ([record], data),
    "a string": lambda record, data: ("record", data),
    "a number": lambda record, data: (7, data),
    "not JSON": lambda record, data: (b"{", data),
    "deep JSON": lambda record, data: (b'{"key":' + b"[" * 100_000, data),
    "deep and closed": lambda record, data: (b"[" * 900 + b"]" * 900, data),
    "no offsets": lambda record, data: (without(record, "frame_offsets"), data),
    "offsets of text": lambda record, data: ({**record, "frame_offsets": "0123456"}, data),
    "too few offsets": lambda record, data: (
        {**record, "frame_offsets": record["frame_offsets"][:-1]},
        data,
    ),
    "falling offsets": lambda record, data: (
        {**record, "frame_offsets": record["frame_offsets"][::-1]},
        data,
    ),
    "huge offsets": lambda record, data: (
        {**record, "frame_offsets": [0, *[HUGE] * record["frames"]]},
        data,
    ),
    "a fraction of frames": lambda record, data: ({**record, "frames": 6.0}, data),
    "huge frames": lambda record, data: ({**record, "frames": HUGE}, data),
    "a huge height": lambda record, data: ({**record, "height": HUGE}, data),
    "60,000 squared in the record": lambda record, data: (
        {**record, "height": 60_000, "width": 60_000},
        data,
    ),
    "60,000 squared in the picture": lambda record, data: with_picture(record, data, huge_jpeg()),
    "an unknown codec": lambda record, data: ({**record, "codec": "av1"}, data),
    "a codec that is a list": lambda record, data: ({**record, "codec": ["jpeg"]}, data),
    "no key": lambda record, data: (without(record, "key"), data),
}
"""Ways to spoil a JPEG clip, by their names."""

HOSTILE_ROWS: dict[str, dict[str, Any]] = {
    "a codec nobody knows": {"codec": "av1"},
    "a clip of 2^62 bytes": {"size": HUGE},
    "a clip beyond everything": {"offset": HUGE},
    "a record of 2^62 bytes": {"json_size": HUGE},
    "a record before the shard": {"json_offset": -HUGE},
    "a size below 0": {"size": -HUGE},
    "2^62 frames": {"frames": HUGE},
    "a row of 60,000 squared": {"height": 60_000, "width": 60_000},
}
"""Manifest columns with what they should not hold, by names."""


def spoil_row(folder: Path, row_number: int, cells: dict[str, Any]) -> str:
    """Change cells of a manifest row; returns its key."""
    manifest = read_manifest(folder).copy()
    for column, value in cells.items():
        manifest.loc[row_number, column] = value
    write_rows(manifest, folder)
    return str(manifest.loc[row_number, "key"])


def spoil(folder: Path, row_number: int, kind: str) -> str:
    """Spoil a clip or its row in one of the ways that have names here; returns its key."""
    if kind in HOSTILE_ROWS:
        return spoil_row(folder, row_number, HOSTILE_ROWS[kind])
    return spoil_clip(folder, row_number, HOSTILE_CLIPS[kind])
