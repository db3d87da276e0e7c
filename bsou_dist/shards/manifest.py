"""The shard folder's table of contents, and one clip out of it."""

from __future__ import annotations

import errno
import json
import os
import re
import tarfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError

from bsou_dist.common.errors import InputError
from bsou_dist.common.files import whole_file
from bsou_dist.common.shown_text import shown_text
from bsou_dist.shards.clip_record import MAX_CLIP_BYTES, MAX_RECORD_BYTES, parse_clip_record
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
_NEEDED = ("key", "shard", *PLACE, "codec", "frames", "height", "width", "sha256")
_SAME_IN_RECORD = ("key", "codec", "frames", "height", "width")
_MAX_CLIPS = 100_000_000
_MAX_SUMMARY_BYTES = 16 << 20

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


class DamagedSummary(InputError):
    """`shards.json` is there and not as packing writes it; manifest and shards may be sound."""


class _Written(BaseModel):
    """A part of `shards.json`: what is read of it, in the types that packing writes."""

    model_config = ConfigDict(extra="allow", strict=True)


class _Counts(_Written):
    clips: NonNegativeInt
    shards: NonNegativeInt
    frames: NonNegativeInt
    bytes: NonNegativeInt
    rejects: dict[str, NonNegativeInt]
    clips_without_spacing: NonNegativeInt
    notes: dict[str, NonNegativeInt]


class _Prepare(_Written):
    size_px: int
    field_mm: float


class _Config(_Written):
    codec: str
    prepare: _Prepare


class _Recipe(_Written):
    config: _Config
    cohort: str
    pseudonym_key: str


class _Summary(_Written):
    recipe: _Recipe
    counts: _Counts


def read_summary(shards_dir: Path) -> dict[str, Any]:
    """Read `shards.json`, the record of how a finished folder was made.

    Raises:
        DamagedSummary: it is not as packing writes it.
        InputError: not a shard folder, one that is not finished, or one of another format version.
    """
    summary = _read_versioned(shards_dir)
    try:
        _Summary.model_validate(summary)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise DamagedSummary(
            f"{shards_dir / SUMMARY_NAME} is not as 'bsou pack' writes it ({place}: "
            f"{first['msg']}); copy the shard folder again, or pack the cohort into a new one"
        ) from None
    return summary


def look_at_summary(shards_dir: Path) -> tuple[dict[str, Any] | None, str | None]:
    """Read `shards.json` as `read_summary` does, or say what is wrong with it.

    Whoever judges a folder wants to go on with its clips.

    Raises:
        InputError: as `read_summary`, but not for a summary that is damaged.
    """
    try:
        return read_summary(shards_dir), None
    except DamagedSummary as damage:
        return None, str(damage)


def _read_versioned(shards_dir: Path) -> dict[str, Any]:
    """Read `shards.json` as far as its version; errors as `read_summary`."""
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
    again = "copy the shard folder again, or pack the cohort into a new one"
    if path.stat().st_size > _MAX_SUMMARY_BYTES:
        raise DamagedSummary(f"{path} is larger than 'bsou pack' writes it; {again}")
    try:
        summary = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise DamagedSummary(f"{path} is not JSON; {again}") from None
    if not isinstance(summary, dict) or "format_version" not in summary:
        raise DamagedSummary(f"{path} is not as 'bsou pack' writes it; {again}")
    if summary["format_version"] != FORMAT_VERSION:
        raise InputError(
            f"{path} has format_version {shown_text(summary['format_version'], 20)}; this program "
            f"reads {FORMAT_VERSION}; pack the cohort again into a new folder"
        )
    return summary


def read_manifest(shards_dir: Path, *, judging: bool = False) -> pd.DataFrame:
    """Read the manifest of a finished shard folder, a row per clip with the columns of `SCHEMA`.

    Args:
        shards_dir: the shard folder.
        judging: go on where `shards.json` is damaged, for whoever judges the folder.

    Raises:
        DamagedSummary: `shards.json` does not tell its version.
        InputError: no finished shard folder, or one of another format version; or the manifest is
            missing, has other columns, lacks what a row needs, has a clip twice, or names a file
            elsewhere.
    """
    try:
        _read_versioned(shards_dir)
    except DamagedSummary:
        if not judging:
            raise
    path = shards_dir / MANIFEST_NAME
    if not path.is_file():
        raise InputError(
            f"{path} is missing; copy the whole shard folder, or pack the cohort again "
            "into a new one"
        )
    try:
        with pq.ParquetFile(path) as file:
            _check_schema(file, path)
            table = file.read()
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path} cannot be read ({type(error).__name__}); copy the shard folder again"
        ) from error
    for name in _NEEDED:
        missing = table[name].null_count
        if missing:
            raise InputError(
                f"{path} lacks {name} in {missing} of {len(table)} rows; "
                "this manifest was not written by 'bsou pack'"
            )
    # Column by column, each freed at once, or a large manifest would be held twice.
    manifest = table.to_pandas(split_blocks=True, self_destruct=True)
    del table
    for name in ("key", "clip"):
        repeated = int(manifest[name].dropna().duplicated().sum())
        if repeated:
            raise InputError(
                f"{path} has {repeated} rows whose {name} stands in an earlier row; "
                "this manifest was not written by 'bsou pack'"
            )
    for shard in manifest["shard"].unique():
        if not _SHARD_NAME.fullmatch(str(shard)):
            raise InputError(
                f"{path} names the shard {shown_text(repr(shard))}, and shards are tar files in "
                "the folder itself; this manifest was not written by 'bsou pack'"
            )
    return manifest


def _check_schema(file: pq.ParquetFile, path: Path) -> None:
    """InputError unless a file has the columns of `SCHEMA`, and not too many rows to be read."""
    found = file.schema_arrow
    if found.names != SCHEMA.names:
        names = shown_text(", ".join(found.names), 500)
        raise InputError(f"{path} has columns {names}; expected {', '.join(SCHEMA.names)}")
    if found.types != SCHEMA.types:
        wrong = [name for name in SCHEMA.names if found.field(name).type != SCHEMA.field(name).type]
        raise InputError(
            f"{path} has columns of another type: {', '.join(wrong)}; "
            "this manifest was not written by 'bsou pack'"
        )
    if file.metadata.num_rows > _MAX_CLIPS:
        raise InputError(
            f"{path} claims {file.metadata.num_rows} rows; more than {_MAX_CLIPS} are not read"
        )


def read_member(
    shards_dir: Path, row: Mapping[str, Any] | pd.Series
) -> tuple[dict[str, Any], bytes]:
    """Read a clip's JSON record and encoded bytes, in one read.

    Args:
        shards_dir: the shard folder.
        row: the clip's manifest row, by column name.

    Raises:
        OSError: the shard cannot be opened or read.
        CorruptClip: the place cannot be a clip's, the shard ends before it, or there is no record
            or that of another clip.
    """
    descriptor = os.open(shards_dir / row["shard"], os.O_RDONLY)
    try:
        place = (int(row[name]) for name in PLACE)
        record, member = member_at(descriptor, row["shard"], *place)
    finally:
        os.close(descriptor)
    for name in _SAME_IN_RECORD:
        if record[name] != row[name]:
            raise CorruptClip(f"its record has {name} {record[name]!r}, the manifest {row[name]!r}")
    return record, bytes(member)


def member_at(
    descriptor: int, shard: str, json_offset: int, json_size: int, offset: int, size: int
) -> tuple[dict[str, Any], memoryview]:
    """Read a clip as `read_member` does, from an open shard of this name.

    The places are `PLACE`; the JSON member and the clip member are read together, and the latter is
    given as a part of what was read: to copy it takes as long as to read it from the page cache.

    Raises:
        OSError: the shard cannot be read, or not as far as it says that it reaches.
        CorruptClip: as `read_member`.
    """
    _check_place(json_offset, json_size, offset, size)
    end = offset + size
    missing = end - os.fstat(descriptor).st_size
    if missing > 0:
        raise CorruptClip(f"{shard} ends {missing} bytes before the clip does")
    data = _read_whole(descriptor, end - json_offset, json_offset)
    record = parse_clip_record(data[:json_size], clip_bytes=size)
    return record, memoryview(data)[offset - json_offset :]


def _read_whole(descriptor: int, size: int, offset: int) -> bytes:
    """Read so many bytes; a file system may return fewer at a time."""
    data = os.pread(descriptor, size, offset)
    while len(data) < size:
        more = os.pread(descriptor, size - len(data), offset + len(data))
        if not more:
            raise OSError(errno.EIO, "it ended before its own size")
        data += more
    return data


def _check_place(json_offset: int, json_size: int, offset: int, size: int) -> None:
    """CorruptClip if a clip cannot be at such a place, before memory is taken for it."""
    most = MAX_RECORD_BYTES + 2 * tarfile.BLOCKSIZE  # with the clip's own header, and padding
    in_order = json_offset >= 0 and 0 < json_size <= offset - json_offset <= most
    if not in_order or not 0 < size <= MAX_CLIP_BYTES:
        raise CorruptClip(
            f"the manifest places {json_size} bytes of record at {json_offset} and {size} bytes of "
            f"clip at {offset}, where no clip can be"
        )
