"""Chunks of an AVI, of which FFmpeg passes over the empty ones and counts them as frames.

Format: https://learn.microsoft.com/windows/win32/directshow/avi-riff-file-reference.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_HEAD_BYTES = 8  # four letters and a length
_LISTS = (b"RIFF", b"LIST")
_LISTS_WITH_FRAMES = (b"AVI ", b"AVIX", b"movi", b"rec ")


def empty_chunks(path: Path, stream_index: int) -> int:
    """Chunks of a stream of pictures that hold nothing: the frame before stays on the screen."""
    number = f"{stream_index:02d}".encode()
    names = (number + b"dc", number + b"db")
    with path.open("rb") as file:
        return sum(length == 0 and name in names for name, length in _chunks(file))


def _chunks(file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """Name and length of every chunk in the lists that hold frames."""
    file_bytes = os.fstat(file.fileno()).st_size
    head = file.read(_HEAD_BYTES)
    while len(head) == _HEAD_BYTES:
        name, length = struct.unpack("<4sI", head)
        begin = file.tell()
        if name in _LISTS and file.read(4) in _LISTS_WITH_FRAMES:
            # Its chunks come next.
            head = file.read(_HEAD_BYTES)
            continue
        yield name, length
        end = begin + length + length % 2
        if end > file_bytes:
            return
        file.seek(end)
        head = file.read(_HEAD_BYTES)
