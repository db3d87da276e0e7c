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

from bsou_dist.packing.private_folder import KEY_NAME, KEYMAP_NAME, PLAN_NAME, REJECTS_NAME
from bsou_dist.shards.codec import EXTENSIONS
from bsou_dist.shards.manifest import MANIFEST_NAME, SUMMARY_NAME, read_manifest, read_summary

_PSEUDONYM = re.compile(r"[0-9a-f]{16}")
_KEY = re.compile(r"[0-9a-f]{16}-[A-Za-z0-9]+-\d+")
_PSEUDONYM_COLUMNS = ("clip", "patient", "study", "exam")
_WORD_COLUMNS = ("sweep", "clip_class", "device", "operator", "site", "codec")
_MAX_WORD_CHARACTERS = 40
_TELLING = re.compile(r"\d{6,}|[/\\@^]")  # a number or date, a path, an address, a DICOM name
_LISTED_VALUES = 30  # of a column
_PLAIN_JPEG_NOTES = {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
_PLAIN_PARQUET_NOTES = {b"ARROW:schema", b"pandas"}
_PRIVATE_FILES = (KEY_NAME, KEYMAP_NAME, REJECTS_NAME, PLAN_NAME)
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
            listed = ", ".join(values[:_LISTED_VALUES]) or "none"
            left_out = len(values) - _LISTED_VALUES
            more = f" and {left_out} more" if left_out > 0 else ""
            lines.append(f"  {name:<12} {listed}{more}")
        verdict = len(self.findings) or "nothing, beside what only you can judge"
        lines.append(f"unexpected: {verdict}")
        lines += [f"  {finding}" for finding in self.findings]
        return "\n".join(lines)


def inspect_privacy(shards_dir: Path, private: Path) -> PrivacyReport:
    """Look through a shard folder for anything but pseudonyms, technical values and pictures.

    Args:
        shards_dir: the shard folder.
        private: where its key is kept, if it is on this machine.

    Raises:
        InputError: not a finished shard folder.
    """
    summary = read_summary(shards_dir)
    manifest = read_manifest(shards_dir)
    words = {}
    for name in _WORD_COLUMNS:
        words[name] = sorted({str(value) for value in manifest[name].dropna()})
    findings = [
        *_in_folder(shards_dir, set(manifest["shard"])),
        *_in_manifest(shards_dir, manifest, words),
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
        with tarfile.open(path, "r:") as tar:
            for number, member in enumerate(tar):
                if member.name not in names or not member.isreg():
                    yield f"member {number} is not one of the manifest's clips"
                    continue
                owner = (member.uid, member.gid, member.mtime, member.uname, member.gname)
                if owner != _NO_OWNER:
                    yield f"{member.name} tells who packed it, or when"
                if member.pax_headers:
                    yield f"{member.name} has additional tar headers"
                file = tar.extractfile(member)
                assert file is not None, "a regular file"
                in_member = _in_member(member.name, file.read(), json_fields)
                yield from (f"{member.name} {finding}" for finding in in_member)
    except (tarfile.TarError, OSError) as error:
        yield f"not a whole tar file ({type(error).__name__})"


def _in_member(name: str, data: bytes, json_fields: set[str]) -> Iterator[str]:
    if not name.endswith(".json"):
        yield from _in_picture(data)
        return
    try:
        record = json.loads(data)
    except ValueError:
        yield "is not JSON"
        return
    json_fields.update(record)
    if not _KEY.fullmatch(str(record.get("key"))):
        yield "has a key of another form than a pseudonym, a sweep and a number"
    yield from _telling({field: value for field, value in record.items() if field != "key"})


def _in_picture(data: bytes) -> Iterator[str]:
    if data.startswith(b"\xff\xd8"):
        with Image.open(io.BytesIO(data)) as picture:
            notes = sorted(str(name) for name in picture.info.keys() - _PLAIN_JPEG_NOTES)
        if notes:
            yield f"has notes beside the picture: {', '.join(notes)}"


def _telling(value: Any) -> Iterator[str]:
    """Find text in a JSON value that is too long or too peculiar to be technical.

    The text itself is not repeated.
    """
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from (f"{name} {finding}" for finding in _telling(inner))
            yield from _telling(name)
    elif isinstance(value, list):
        for inner in value:
            yield from _telling(inner)
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
