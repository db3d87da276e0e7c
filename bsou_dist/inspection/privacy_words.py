"""What shards say besides their pictures: all words listed, and what should not be there found."""

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

from bsou_dist.common.shown_text import shown_text
from bsou_dist.packing.private_folder import (
    KEY_NAME,
    KEYMAP_NAME,
    PLAN_NAME,
    REJECTS_NAME,
    WORDS_NAME,
)
from bsou_dist.shards.clip_record import MAX_CLIP_BYTES, MAX_RECORD_BYTES
from bsou_dist.shards.codec import EXTENSIONS
from bsou_dist.shards.jpeg_header import read_jpeg_header
from bsou_dist.shards.manifest import MANIFEST_NAME, SUMMARY_NAME, look_at_summary, read_manifest
from bsou_dist.shards.shard_file import tar_members

_PSEUDONYM = re.compile(r"[0-9a-f]{16}")
_KEY = re.compile(r"[0-9a-f]{16}-[A-Za-z0-9]+-\d+")
_PSEUDONYM_COLUMNS = ("clip", "patient", "study", "exam")
_WORD_COLUMNS = ("sweep", "clip_class", "device", "operator", "site", "codec")
_MAX_WORD_CHARACTERS = 40
_TELLING = re.compile(r"\d{6,}|[/\\@^]")  # a number or date, a path, an address, a DICOM name
_MAX_DEPTH = 12  # of JSON
_LISTED_VALUES = 30  # of a column
_PLAIN_JPEG_NOTES = {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
_PLAIN_PARQUET_NOTES = {b"ARROW:schema", b"pandas"}
_PRIVATE_FILES = (KEY_NAME, KEYMAP_NAME, REJECTS_NAME, PLAN_NAME, WORDS_NAME)
_ADDITIONAL_HEADERS = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_NO_OWNER = (0, 0, 0, "", "")  # uid, gid, mtime, uname and gname of a tar member


@dataclass(frozen=True)
class PrivacyReport:
    """All words of a shard folder, and what is not as `bsou pack` leaves it.

    Attributes:
        words: the distinct values of each column or field, by its name.
        findings: what is unexpected and where, without repeating what it says.
    """

    words: dict[str, list[str]]
    findings: tuple[str, ...]

    def __str__(self) -> str:
        lines = ["all that these shards say in words, for you to read:"]
        for name, values in self.words.items():
            some = [shown_text(value, _MAX_WORD_CHARACTERS) for value in values[:_LISTED_VALUES]]
            listed = ", ".join(some) or "none"
            left_out = len(values) - _LISTED_VALUES
            more = f" and {left_out} more" if left_out > 0 else ""
            lines.append(f"  {name:<12} {listed}{more}")
        verdict = len(self.findings) or "nothing, beside what only you can judge"
        lines.append(f"unexpected: {verdict}")
        lines += [f"  {shown_text(finding, 500)}" for finding in self.findings]
        return "\n".join(lines)


def inspect_privacy(shards_dir: Path, private: Path) -> PrivacyReport:
    """Look through a shard folder for anything but pseudonyms, technical values and pictures.

    Args:
        shards_dir: the shard folder.
        private: where its key is kept, if it is on this machine.

    Raises:
        InputError: not a finished shard folder.
    """
    summary, damage = look_at_summary(shards_dir)
    manifest = read_manifest(shards_dir, judging=True)
    words = {}
    for name in _WORD_COLUMNS:
        words[name] = sorted({str(value) for value in manifest[name].dropna()})
    findings = [
        *_in_folder(shards_dir, set(manifest["shard"])),
        *_in_manifest(shards_dir, manifest, words),
        *([] if damage is None else [f"{SUMMARY_NAME}: {damage}"]),
        *(f"{SUMMARY_NAME}: {finding}" for finding in _telling(summary)),
    ]
    json_fields: set[str] = set()
    for shard, rows in manifest.groupby("shard"):
        in_shard = _in_shard(shards_dir / str(shard), set(rows["key"]), json_fields)
        findings += [f"{shard}: {finding}" for finding in in_shard]
    findings += _in_private(shards_dir, private)
    words["JSON fields"] = sorted(json_fields)
    bmi_values = sorted(manifest["bmi"].dropna().unique())
    words["bmi, kg/m2"] = [f"{value:g}" for value in bmi_values]
    return PrivacyReport(words, tuple(findings))


def _in_folder(shards_dir: Path, shards: set[str]) -> Iterator[str]:
    """Find files that belong to no shard folder, or to none that is given away."""
    indices = {f"{Path(shard).stem}.idx" for shard in shards}
    expected = {MANIFEST_NAME, SUMMARY_NAME} | shards | indices
    for path in sorted(shards_dir.rglob("*")):
        name = path.relative_to(shards_dir).as_posix()
        if path.name in _PRIVATE_FILES:
            yield (
                f"{name}: whoever has this and the shards knows who the patients are; move it away"
            )
        elif name not in expected or path.is_symlink():
            yield f"{name}: no part of the shards"


def _in_manifest(
    shards_dir: Path, manifest: pd.DataFrame, words: Mapping[str, list[str]]
) -> Iterator[str]:
    """Find columns with other things than belong in them, and notes in the manifest's metadata."""
    for name in _PSEUDONYM_COLUMNS:
        if not _all_match(_PSEUDONYM, manifest[name]):
            yield f"{MANIFEST_NAME}: column {name} holds other things than pseudonyms"
    if not _all_match(_KEY, manifest["key"]):
        yield (
            f"{MANIFEST_NAME}: column key holds other things than a pseudonym, a sweep and a number"
        )
    for name, values in words.items():
        yield from (f"{MANIFEST_NAME}: {name} {finding}" for finding in _telling(values))
    metadata = pq.read_schema(shards_dir / MANIFEST_NAME).metadata or {}
    notes = set(metadata) - _PLAIN_PARQUET_NOTES
    if notes:
        yield f"{MANIFEST_NAME}: has {len(notes)} notes in its metadata"


def _all_match(form: re.Pattern[str], values: pd.Series) -> bool:
    return bool(values.map(lambda value: form.fullmatch(str(value)) is not None).all())


def _in_shard(path: Path, keys: set[str], json_fields: set[str]) -> Iterator[str]:
    """Find what is unexpected in a tar file; adds the names of its JSON fields to `json_fields`."""
    extensions = ("json", *EXTENSIONS.values())
    names = {f"{key}.{extension}" for key in keys for extension in extensions}
    try:
        with path.open("rb") as file:
            for number, member in enumerate(tar_members(path)):
                if member.type in _ADDITIONAL_HEADERS:
                    yield f"member {number} holds additional tar headers"
                    continue
                if member.name not in names or not member.isreg():
                    yield f"member {number} is not one of the manifest's clips"
                    continue
                owner = (member.uid, member.gid, member.mtime, member.uname, member.gname)
                if owner != _NO_OWNER:
                    yield f"{member.name} tells who packed it, or when"
                is_record = member.name.endswith(".json")
                if member.size > (MAX_RECORD_BYTES if is_record else MAX_CLIP_BYTES):
                    yield f"{member.name} is too large to be looked at"
                    continue
                file.seek(member.offset_data)
                data = file.read(member.size)
                in_member = _in_record(data, json_fields) if is_record else _in_picture(data)
                yield from (f"{member.name} {finding}" for finding in in_member)
    except (tarfile.TarError, OSError) as error:
        yield f"not a whole tar file ({type(error).__name__})"


def _in_record(data: bytes, json_fields: set[str]) -> Iterator[str]:
    try:
        record = json.loads(data)
    except (ValueError, RecursionError):
        yield "is not JSON, or nested too deeply"
        return
    if not isinstance(record, dict):
        yield "is no JSON object"
        return
    json_fields.update(record)
    if not _KEY.fullmatch(str(record.get("key"))):
        yield "has a key of another form than a pseudonym, a sweep and a number"
    yield from _telling({field: value for field, value in record.items() if field != "key"})


def _in_picture(data: bytes) -> Iterator[str]:
    if not data.startswith(b"\xff\xd8"):
        return
    try:
        read_jpeg_header(data)
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as picture:
            notes = sorted(str(name) for name in picture.info.keys() - _PLAIN_JPEG_NOTES)
    except Exception as error:  # damaged bytes make Pillow raise almost anything
        yield f"has a JPEG header that cannot be read ({type(error).__name__})"
        return
    if notes:
        yield f"has notes beside the picture: {', '.join(notes)}"


def _telling(value: Any, depth: int = 0) -> Iterator[str]:
    """Find text in a JSON value that is too long or too peculiar to be technical.

    The text itself is not repeated. Nothing that packing writes is nested deeply.
    """
    if depth > _MAX_DEPTH:
        yield "is nested too deeply to be looked through"
    elif isinstance(value, dict):
        for name, inner in value.items():
            shown_name = shown_text(name, _MAX_WORD_CHARACTERS)
            yield from (f"{shown_name} {finding}" for finding in _telling(inner, depth + 1))
            yield from _telling(name, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _telling(inner, depth + 1)
    elif isinstance(value, str) and not _PSEUDONYM.fullmatch(value):
        if len(value) > _MAX_WORD_CHARACTERS:
            yield f"holds a text of {len(value)} characters"
        elif _TELLING.search(value):
            yield "holds a long number, a path, an address or a name as DICOM writes it"


def _in_private(shards_dir: Path, private: Path) -> Iterator[str]:
    """Find a private folder that goes with the shards, or that others can read."""
    if not private.is_dir():
        return
    if private.resolve().is_relative_to(shards_dir.resolve()):
        yield f"{private} lies inside the shard folder; move it out"
    for path in (private, *sorted(private.iterdir())):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            yield f"{path} can be reached by others than its owner (mode {mode:03o}); chmod go= it"
