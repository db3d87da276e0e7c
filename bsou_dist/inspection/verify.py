"""Every clip of a shard folder against its checksum, its index and its record."""

from __future__ import annotations

import hashlib
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from bsou_dist.shards.codec import EXTENSIONS, CorruptClip, decode_frames
from bsou_dist.shards.manifest import read_manifest, read_member, read_summary
from bsou_dist.shards.shard_file import index_text

_SAME_IN_RECORD = (
    "key",
    "codec",
    "frames",
    "height",
    "width",
    "mm_per_px",
    "scale_source",
    "notes",
    "sweep",
)


@dataclass(frozen=True)
class Fault:
    """What is wrong with a clip, or with a whole shard or folder where `key` is None."""

    shard: str
    key: str | None
    reason: str

    def __str__(self) -> str:
        place = f"{self.shard} {self.key}" if self.key else self.shard
        return f"{place}: {self.reason}"


@dataclass(frozen=True)
class VerifyReport:
    """How many clips and bytes were read, and all faults found."""

    clips: int
    bytes: int
    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        verdict = f"{len(self.faults)} faults" if self.faults else "no fault"
        heading = f"{self.clips} clips, {self.bytes / 1e6:.1f} MB: {verdict}"
        return "\n".join([heading, *map(str, self.faults)])


def verify(shards_dir: Path, progress: bool = True) -> VerifyReport:
    """Re-read every clip, and report all faults in one go.

    Looked at are each clip's sha256, JSON record, first and last frame, and each shard's members
    and index.

    Args:
        shards_dir: the shard folder.
        progress: whether to show a bar.

    Raises:
        InputError: no finished shard folder, or its manifest cannot be read.
    """
    counts = read_summary(shards_dir)["counts"]
    manifest = read_manifest(shards_dir)
    in_manifest = {
        "clips": len(manifest),
        "bytes": int(manifest["size"].sum()),
        "frames": int(manifest["frames"].sum()),
    }
    faults = [
        Fault("shards.json", None, f"counts {counts[name]} {name}, the manifest has {count}")
        for name, count in in_manifest.items()
        if counts[name] != count
    ]
    shards = {path.name for path in shards_dir.glob("*.tar")}
    unknown = sorted(shards - set(manifest["shard"]))
    faults += [Fault(name, None, "not in the manifest") for name in unknown]
    disable = None if progress else True  # None shows the bar on terminals only
    with tqdm(total=len(manifest), desc="verify", unit="clip", disable=disable) as bar:
        for shard, rows in manifest.groupby("shard", sort=True):
            faults += _verify_shard(shards_dir, str(shard), rows, bar)
    return VerifyReport(in_manifest["clips"], in_manifest["bytes"], tuple(faults))


def _verify_shard(shards_dir: Path, shard: str, rows: pd.DataFrame, bar: tqdm) -> list[Fault]:
    """All faults of a shard and of the clips in it, which are the manifest's rows."""
    path = shards_dir / shard
    if not path.is_file():
        bar.update(len(rows))
        return [Fault(shard, None, f"missing, with {len(rows)} clips")]
    faults = []
    clips: list[dict[str, Any]] = [dict(row) for _, row in rows.iterrows()]
    index = path.with_suffix(".idx")
    if not index.is_file() or index.read_text(errors="replace") != index_text(clips):
        faults.append(Fault(index.name, None, "missing or not the index of its shard"))
    try:
        with tarfile.open(path, "r:") as tar:
            members = [(member.name, member.offset_data, member.size) for member in tar]
        if members != _expected_members(clips):
            faults.append(Fault(shard, None, "its members are not those of the manifest"))
    except (tarfile.TarError, OSError) as error:
        faults.append(Fault(shard, None, f"not a whole tar file ({type(error).__name__})"))
    for row in clips:
        reason = _clip_fault(shards_dir, row)
        if reason is not None:
            faults.append(Fault(shard, str(row["key"]), reason))
        bar.update()
    return faults


def _expected_members(clips: list[dict[str, Any]]) -> list[tuple[str, int, int]]:
    """Name, offset and size of a shard's tar members by the manifest's rows, in order."""
    members = []
    for row in clips:
        key = row["key"]
        members.append((f"{key}.json", row["json_offset"], row["json_size"]))
        members.append((f"{key}.{EXTENSIONS[row['codec']]}", row["offset"], row["size"]))
    return members


def _clip_fault(shards_dir: Path, row: dict[str, Any]) -> str | None:
    """What is wrong with a clip, or None; the first of what there may be."""
    try:
        record, data = read_member(shards_dir, row)
    except (CorruptClip, OSError) as error:
        return str(error)
    if hashlib.sha256(data).hexdigest() != row["sha256"]:
        return "its bytes do not have the sha256 of the manifest"
    for name in _SAME_IN_RECORD:
        expected = None if pd.isna(row[name]) else row[name]
        if record.get(name) != expected:
            return f"its record has {name} {record.get(name)!r}, the manifest {row[name]!r}"
    try:
        decode_frames(data, record, [0, record["frames"] - 1])
    except CorruptClip as error:
        return str(error)
    return None
