"""What shards say besides their pictures: every word of it listed, and what should not be there
found.
"""

from __future__ import annotations

import io
import json
import re
import stat
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
from PIL import Image

from bsou_dist.packing.private_folder import KEY_NAME, KEYMAP_NAME, PLAN_NAME, REJECTS_NAME
from bsou_dist.shards.codec import EXTENSIONS
from bsou_dist.shards.manifest import MANIFEST_NAME, SUMMARY_NAME, read_manifest, read_summary

_PSEUDONYM = re.compile(r"[0-9a-f]{16}")
_KEY = re.compile(r"[0-9a-f]{16}-[A-Za-z0-9]+-\d+")
_PSEUDONYMS = ("clip", "patient", "study", "exam")
_WORDS = ("sweep", "clip_class", "device", "operator", "site", "codec")
_MAX_WORD = 40  # characters
_TELLING = re.compile(r"\d{6,}|[/\\@^]")  # a number or date, a path, an address, a DICOM name
_LISTED = 30  # values of a column
_JPEG_INFO = {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
_PARQUET_INFO = {b"ARROW:schema", b"pandas"}
_NOT_TO_GIVE_AWAY = (KEY_NAME, KEYMAP_NAME, REJECTS_NAME, PLAN_NAME)


@dataclass(frozen=True)
class PrivacyReport:
    """All words of a shard folder, and what is not as `bsou pack` leaves it."""

    words: dict[str, list[str]]
    findings: tuple[str, ...]

    def __str__(self) -> str:
        lines = ["all that these shards say in words, for you to read:"]
        for name, values in self.words.items():
            more = f" and {len(values) - _LISTED} more" if len(values) > _LISTED else ""
            lines.append(f"  {name:<12} {', '.join(values[:_LISTED]) or 'none'}{more}")
        lines.append(
            f"unexpected: {len(self.findings) or 'nothing, beside what only you can judge'}"
        )
        return "\n".join([*lines, *(f"  {finding}" for finding in self.findings)])


def inspect_privacy(shards_dir: Path, private: Path) -> PrivacyReport:
    """Look through a shard folder for anything but pseudonyms, technical values and pictures.

    Args:
        shards_dir: the shard folder.
        private: where its key is kept, if it is on this machine.

    Raises:
        InputError: not a finished shard folder.
    """
    summary, manifest = read_summary(shards_dir), read_manifest(shards_dir)
    words = {name: sorted({str(value) for value in manifest[name].dropna()}) for name in _WORDS}
    fields: set[str] = set()
    findings = [
        *_in_folder(shards_dir, set(manifest["shard"])),
        *_in_manifest(shards_dir, manifest, words),
        *(f"{SUMMARY_NAME}: {finding}" for finding in _telling(summary)),
    ]
    for shard, rows in manifest.groupby("shard"):
        findings += [
            f"{shard}: {finding}"
            for finding in _in_shard(shards_dir / str(shard), set(rows["key"]), fields)
        ]
    words["JSON fields"] = sorted(fields)
    words["bmi, kg/m2"] = [f"{value:g}" for value in sorted(manifest["bmi"].dropna().unique())]
    findings += _in_private(shards_dir, private)
    return PrivacyReport(words, tuple(findings))


def _in_folder(shards_dir: Path, shards: set[str]) -> Iterator[str]:
    expected = {
        MANIFEST_NAME,
        SUMMARY_NAME,
        *shards,
        *(f"{Path(shard).stem}.idx" for shard in shards),
    }
    for path in sorted(shards_dir.rglob("*")):
        name = path.relative_to(shards_dir).as_posix()
        if path.name in _NOT_TO_GIVE_AWAY:
            yield (
                f"{name}: whoever has this and the shards knows who the patients are; move it away"
            )
        elif name not in expected or path.is_symlink():
            yield f"{name}: no part of the shards"


def _in_manifest(
    shards_dir: Path, manifest: pd.DataFrame, words: Mapping[str, list[str]]
) -> Iterator[str]:
    for name in _PSEUDONYMS:
        if not manifest[name].map(lambda value: bool(_PSEUDONYM.fullmatch(str(value)))).all():
            yield (f"{MANIFEST_NAME}: column {name} holds other things than pseudonyms")
    if not manifest["key"].map(lambda value: bool(_KEY.fullmatch(str(value)))).all():
        yield (
            f"{MANIFEST_NAME}: column key holds other things than a pseudonym, a sweep and a number"
        )
    for name, values in words.items():
        yield from (f"{MANIFEST_NAME}: {name} {finding}" for finding in _telling(values))
    unknown = set(pq.read_schema(shards_dir / MANIFEST_NAME).metadata or {}) - _PARQUET_INFO
    if unknown:
        yield f"{MANIFEST_NAME}: has {len(unknown)} notes in its metadata"


def _in_shard(path: Path, keys: set[str], fields: set[str]) -> Iterator[str]:
    """What is unexpected in a tar file; adds the names of its JSON fields to `fields`."""
    names = {f"{key}.{extension}" for key in keys for extension in ("json", *EXTENSIONS.values())}
    try:
        with tarfile.open(path, "r:") as tar:
            for number, member in enumerate(tar):
                if member.name not in names or not member.isreg():
                    yield f"member {number} is not one of the manifest's clips"
                    continue
                if (member.uid, member.gid, member.mtime, member.uname, member.gname) != (
                    0,
                    0,
                    0,
                    "",
                    "",
                ):
                    yield f"{member.name} tells who packed it, or when"
                if member.pax_headers:
                    yield f"{member.name} has additional tar headers"
                file = tar.extractfile(member)
                assert file is not None, "a regular file"
                yield from (
                    f"{member.name} {finding}"
                    for finding in _in_member(member.name, file.read(), fields)
                )
    except (tarfile.TarError, OSError) as error:
        yield f"not a whole tar file ({type(error).__name__})"


def _in_member(name: str, data: bytes, fields: set[str]) -> Iterator[str]:
    if not name.endswith(".json"):
        yield from _in_picture(data)
        return
    try:
        record = json.loads(data)
    except ValueError:
        yield "is not JSON"
        return
    fields.update(record)
    if not _KEY.fullmatch(str(record.get("key"))):
        yield "has a key of another form than a pseudonym, a sweep and a number"
    yield from _telling({name: value for name, value in record.items() if name != "key"})


def _in_picture(data: bytes) -> Iterator[str]:
    if data.startswith(b"\xff\xd8"):
        with Image.open(io.BytesIO(data)) as picture:
            if notes := sorted(map(str, picture.info.keys() - _JPEG_INFO)):
                yield f"has notes beside the picture: {', '.join(notes)}"


def _telling(value: Any) -> Iterator[str]:
    """Where a JSON value holds text too long or too peculiar to be technical; the text itself is
    not repeated.
    """
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from (f"{name} {finding}" for finding in _telling(inner))
            yield from _telling(name)
    elif isinstance(value, list):
        for inner in value:
            yield from _telling(inner)
    elif isinstance(value, str) and not _PSEUDONYM.fullmatch(value):
        if len(value) > _MAX_WORD:
            yield f"holds a text of {len(value)} characters"
        elif _TELLING.search(value):
            yield "holds a long number, a path, an address or a name as DICOM writes it"


def _in_private(shards_dir: Path, private: Path) -> Iterator[str]:
    if not private.is_dir():
        return
    if private.resolve().is_relative_to(shards_dir.resolve()):
        yield f"{private} lies inside the shard folder; move it out"
    for path in (private, *sorted(private.iterdir())):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            yield f"{path} can be reached by others than its owner (mode {mode:03o}); chmod go= it"
