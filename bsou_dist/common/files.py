"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bsou_dist.common.errors import InputError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to, which takes the place of `path` if the block ends well.

    If the block raises, the temporary file is deleted and `path` stays as it was. What was written
    is on the disk before the name changes, so that neither a crash nor a full disk leaves half a
    file or loses the old one.
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
