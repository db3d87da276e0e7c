"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from bsou_dist.common.errors import InputError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to, which takes the place of `path` if the block ends well.

    If the block raises, the temporary file is deleted and `path` stays as it was. What was written
    is on the disk before the name changes, so that neither a crash nor a full disk leaves half a
    file or loses the old one.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    # Of an attempt that was killed, or a link of somebody else's that would be written through.
    temporary.unlink(missing_ok=True)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def private_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write to, whole or not at all, that its owner alone may read.

    It is made anew, so that nothing is written through a link, or to a file that others have open.
    """
    with whole_file(path) as temporary:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
            yield file


def check_private(folder: Path) -> None:
    """Refuse a folder for private files that others may write to.

    They could read what is put there through links, or put files of theirs in its place.

    Raises:
        InputError: it is there, and its group or everybody may write to it.
    """
    if not folder.exists():
        return
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise InputError(
            f"{folder} can be written to by others than its owner (mode {mode:03o}), and private "
            f"files belong there; 'chmod go-w {folder}', or name another folder"
        )


def check_outside(corpus: Path, *folders: Path) -> None:
    """Refuse folders to be written that lie in a corpus, which belongs to others and is read again.

    Raises:
        InputError: a folder lies in `corpus`, or is `corpus`.
    """
    for folder in folders:
        if folder.resolve().is_relative_to(corpus.resolve()):
            raise InputError(
                f"{folder} lies inside the corpus {corpus}, which nothing is written to; "
                "name a folder outside it"
            )


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
