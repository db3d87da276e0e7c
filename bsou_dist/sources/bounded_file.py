"""Files that take no memory for bytes that they do not hold."""

from __future__ import annotations

import io
import os
from pathlib import Path

_UNCHECKED_BYTES = 1 << 16  # a longer read first asks how much is left of the file


class BoundedFile(io.BufferedReader):
    """A file opened for reading, in which a read is cut to what is left of it.

    A length in a damaged header may be anything up to 4 GB, and a plain file takes that memory
    before it reads.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > _UNCHECKED_BYTES:
            file_bytes = os.fstat(self.fileno()).st_size
            bytes_left = max(0, file_bytes - self.tell())
            size = min(size, bytes_left)
        return super().read(size)
