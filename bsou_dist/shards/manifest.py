"""The shard folder's table of contents, and one clip out of it."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bsou_dist.common.errors import InputError
from bsou_dist.common.files import whole_file
from bsou_dist.shards.codec import CorruptClip

FORMAT_VERSION = 2
MANIFEST_NAME = "manifest.parquet"
SUMMARY_NAME = "shards.json"
PARTS_NAME = ".parts"
"""Records of finished shards, there only until the whole folder is packed."""

SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("clip", pa.string()),  # pseudonym of the path, to join the cohort's labels
        ("shard", pa.string()),  # file name
        ("json_offset", pa.int64()),  # bytes; the JSON member directly precedes the clip member
        ("json_size", pa.int64()),
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("codec", pa.string()),  # 'jpeg' or 'h264'
        ("frames", pa.int64()),
        ("height", pa.int64()),
        ("width", pa.int64()),
        # null where the spacing is unknown: the clip is missing for gestational age
        ("mm_per_px", pa.float64()),
        # what stated the spacing: a name of part of the file's header, or the cohort table
        ("scale_source", pa.string()),
        # what someone who uses the clip should know; null for most clips
        ("notes", pa.string()),
        ("sweep", pa.string()),
        ("clip_class", pa.string()),
        ("device", pa.string()),
        ("operator", pa.string()),
        ("site", pa.string()),
        ("bmi", pa.float64()),  # kg/m2
        ("patient", pa.string()),  # pseudonyms
        ("study", pa.string()),
        ("exam", pa.string()),
        ("sha256", pa.string()),  # of the clip member
    ]
)

PLACE = ("json_offset", "json_size", "offset", "size")
"""Columns that say where in its shard a clip is."""

_NOTE_SEPARATOR = "; "
_SHARD_NAME = re.compile(r"[^/\\\0]+\.tar")


def manifest_of(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows, a record each, as a table of `SCHEMA`."""
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def joined_notes(notes: Sequence[str]) -> str | None:
    """Notes about a clip as a cell of the manifest."""
    return _NOTE_SEPARATOR.join(notes) or None


def counted_notes(cells: Iterable[str | None]) -> dict[str, int]:
    """Count the clips of each class of note; a note's class is what stands before its ': '."""
    counts: Counter[str] = Counter()
    for cell in cells:
        notes = cell.split(_NOTE_SEPARATOR) if cell else []
        counts.update({note.split(": ")[0] for note in notes})
    return dict(sorted(counts.items()))


def write_manifest(manifest: pa.Table, shards_dir: Path) -> None:
    """Write `manifest.parquet`, whole or not at all."""
    with whole_file(shards_dir / MANIFEST_NAME) as temporary:
        pq.write_table(manifest, temporary)


def read_summary(shards_dir: Path) -> dict[str, Any]:
    """Read `shards.json`, the record of how a finished folder was made.

    Raises:
        InputError: not a shard folder, one that is not finished, or one of another format version.
    """
    path = shards_dir / SUMMARY_NAME
    is_finished = path.is_file()
    if not is_finished and (shards_dir / PARTS_NAME).is_dir():
        raise InputError(
            f"{shards_dir} is not finished; run the same 'bsou pack' again and it will go on"
        )
    if not is_finished:
        raise InputError(
            f"{shards_dir} holds no shards (no {SUMMARY_NAME}); "
            "make them with 'bsou pack COHORT OUT'"
        )
    try:
        summary: dict[str, Any] = json.loads(path.read_text())
    except ValueError:
        raise InputError(f"{path} is not JSON; pack the cohort again into a new folder") from None
    if summary.get("format_version") != FORMAT_VERSION:
        raise InputError(
            f"{path} has format_version {summary.get('format_version')!r}; this program reads "
            f"{FORMAT_VERSION}; pack the cohort again into a new folder"
        )
    return summary


def read_manifest(shards_dir: Path) -> pd.DataFrame:
    """Read the manifest of a finished shard folder, a row per clip with the columns of `SCHEMA`.

    Raises:
        InputError: no finished shard folder (as `read_summary`), or the manifest is missing, has
            other columns or names a file elsewhere.
    """
    read_summary(shards_dir)
    path = shards_dir / MANIFEST_NAME
    if not path.is_file():
        raise InputError(
            f"{path} is missing; copy the whole shard folder, or pack the cohort again "
            "into a new one"
        )
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path} cannot be read ({type(error).__name__}); copy the shard folder again"
        ) from error
    if table.schema.names != SCHEMA.names:
        raise InputError(f"{path} has columns {table.schema.names}; expected {SCHEMA.names}")
    # Column by column, each freed at once, or a large manifest would be held twice.
    manifest = table.to_pandas(split_blocks=True, self_destruct=True)
    del table
    for shard in manifest["shard"].unique():
        if not _SHARD_NAME.fullmatch(str(shard)):
            raise InputError(
                f"{path} names the shard {shard!r}, and shards are tar files in the folder "
                "itself; this manifest was not written by 'bsou pack'"
            )
    return manifest


def read_member(
    shards_dir: Path, row: Mapping[str, Any] | pd.Series
) -> tuple[dict[str, Any], bytes]:
    """Read a clip's JSON record and encoded bytes, in one read.

    Args:
        shards_dir: the shard folder.
        row: the clip's manifest row, by column name.

    Raises:
        OSError: the shard cannot be opened.
        CorruptClip: it ends too early, or has no JSON at that place.
    """
    descriptor = os.open(shards_dir / row["shard"], os.O_RDONLY)
    try:
        place = (int(row[name]) for name in PLACE)
        return member_at(descriptor, row["shard"], *place)
    finally:
        os.close(descriptor)


def member_at(
    descriptor: int, shard: str, json_offset: int, json_size: int, offset: int, size: int
) -> tuple[dict[str, Any], bytes]:
    """Read a clip as `read_member` does, from an open shard of this name.

    The places are `PLACE`; the JSON member and the clip member are read together.
    """
    length = offset + size - json_offset
    data = os.pread(descriptor, length, json_offset)
    if len(data) < length:
        raise CorruptClip(f"{shard} ends {length - len(data)} bytes before the clip does")
    try:
        meta = json.loads(data[:json_size])
    except ValueError:
        raise CorruptClip(f"{shard} has no JSON record at byte {json_offset}") from None
    return meta, data[offset - json_offset :]
