"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bsou_dist.common.errors import InputError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path to write to; it takes the place of `path` when the block ends well, and goes
    when it does not.

    What was written is on the disk before the name changes, so that neither a crash nor a full disk
    leaves half a file or loses the old one.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_outside(corpus: Path, *folders: Path) -> None:
    """InputError if a folder to be written lies in a corpus, which belongs to others and is read
    again.
    """
    for folder in folders:
        if folder.resolve().is_relative_to(corpus.resolve()):
            raise InputError(
                f"{folder} lies inside the corpus {corpus}, which nothing is written to; name a "
                "folder "
                "outside it"
            )


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
