"""What was joined, kept in files that later starts and other ranks map instead of joining anew.

A file is named by a hash of all that it was made from: manifest, cohort table, column map, key,
settings, and the code that read them. It is never looked for by anything else, so that it cannot be
stale. It ends with a hash of itself, so that a damaged one is made anew. It holds labels and
pseudonyms, and no identities; only its owner can read it. Files are never removed from here, since
a run on another node may have them mapped.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pandas as pd
import pyarrow as pa

import bsou_dist
from bsou_dist.cohort.column_map import load_column_map
from bsou_dist.common.errors import InputError
from bsou_dist.common.files import check_private, private_file
from bsou_dist.experiment.data_config import SourceConfig
from bsou_dist.experiment.join import JoinedSource, join_source, key_path
from bsou_dist.shards.manifest import MANIFEST_NAME, SUMMARY_NAME
from bsou_dist.shards.pseudonyms import Pseudonymizer, load_key

FOLDER = ".joined"
"""Name of the cache's folder in the folder of runs."""
READ_BY = ("cohort", "common", "shards", "experiment")
"""Rooms whose code decides what is joined."""
SUFFIX = ".arrow"
DIGEST_BYTES = 32
APPEARS_WITHIN_S = 30.0
"""How long another node's file may take to be seen on a shared file system."""


@dataclass(frozen=True)
class JoinedCache:
    """A folder of joined sources.

    Attributes:
        folder: where they lie; None keeps nothing.
        may_write: whether what is not there may be added.
    """

    folder: Path | None
    may_write: bool = True

    def load(
        self, source: SourceConfig, label_columns: Collection[str]
    ) -> tuple[JoinedSource, Path | None]:
        """A source as it was kept, or joined now; and the file that holds it, if any does.

        Raises:
            InputError: as `join_source`.
        """
        if self.folder is None:
            return join_source(source, label_columns), None
        # Where a file is missing, the join says so in its own words.
        inputs_are_there = all(path.is_file() for path in (key_path(source), *_files(source)))
        path = self._path(_inputs_hash(source, label_columns)) if inputs_are_there else None
        kept = _opened(path) if path else None
        if kept is not None:
            return kept, path
        joined = join_source(source, label_columns)
        if not self.may_write:
            return joined, None
        return joined, self._keep(joined, path)

    def _path(self, name: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{name}{SUFFIX}"

    def _keep(self, joined: JoinedSource, path: Path | None) -> Path | None:
        """Write a file; None where that is not possible, which costs time and nothing else.

        A layout of several tables has no `path` of its own: nobody knows what else lies in its
        folder. It is read at every start, and other ranks find it by its content.
        """
        assert self.folder is not None
        content = _as_bytes(joined)
        digest = hashlib.sha256(content).digest()
        path = path or self._path(digest.hex())
        # Of a name of its own: another run may be writing the same file.
        temporary = path.with_name(f"{path.stem}.{secrets.token_hex(4)}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            check_private(self.folder)
            with private_file(temporary) as file:
                file.write(content)
                file.write(digest)
            temporary.replace(path)
        except (OSError, InputError):
            return None
        return path


def load_kept(path: Path) -> JoinedSource | None:
    """Map a file that another process has just written or read; None if it does not appear.

    It is not compared with its hash again: whoever named it has done so.
    """
    deadline = time.monotonic() + APPEARS_WITHIN_S
    while not path.is_file():
        if time.monotonic() > deadline:
            return None
        time.sleep(0.5)
    return _mapped(path)


def _as_bytes(joined: JoinedSource) -> pa.Buffer:
    table = joined.to_table()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _opened(path: Path) -> JoinedSource | None:
    """Map a file that is whole; None if it is damaged or not there."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size - DIGEST_BYTES
            if size <= 0 or _hash_of(file, size) != file.read(DIGEST_BYTES):
                return None
        return _mapped(path)
    except OSError:
        return None


def _mapped(path: Path) -> JoinedSource:
    content = pa.memory_map(str(path)).read_buffer()
    table = pa.ipc.open_file(content.slice(0, content.size - DIGEST_BYTES)).read_all()
    return JoinedSource.of_table(table)


def _hash_of(file: BinaryIO, size: int) -> bytes:
    """SHA-256 of the next `size` bytes of a file."""
    digest = hashlib.sha256()
    while size > 0 and (piece := file.read(min(size, 1 << 20))):
        digest.update(piece)
        size -= len(piece)
    return digest.digest()


def _inputs_hash(source: SourceConfig, label_columns: Collection[str]) -> str:
    """SHA-256 of everything that `join_source` reads."""
    mapping = load_column_map(source.column_map) if source.column_map else None
    plain = {
        "versions": [bsou_dist.__version__, pd.__version__, pa.__version__, _code_hash()],
        "source": source.model_dump(mode="json"),
        "column map": mapping.model_dump(mode="json") if mapping else None,
        "key": Pseudonymizer(load_key(key_path(source))).fingerprint,
        "label columns": sorted(label_columns),
    }
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    for path in _files(source):
        digest.update(_file_hash(path))
    return digest.hexdigest()


def _files(source: SourceConfig) -> tuple[Path, ...]:
    """The files that `join_source` reads, beside key and column map."""
    return source.shards / SUMMARY_NAME, source.shards / MANIFEST_NAME, source.cohort


def _code_hash() -> str:
    """A hash of the code and the maps that decide what is joined."""
    package = Path(bsou_dist.__file__).parent
    files = [
        path
        for room in READ_BY
        for path in sorted((package / room).rglob("*"))
        if path.suffix in (".py", ".yaml")
    ]
    return _combined(map(_file_hash, files)).hex()


def _combined(hashes: Iterable[bytes]) -> bytes:
    return hashlib.sha256(b"".join(hashes)).digest()


def _file_hash(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
