"""A file that claims more than it holds must not take memory for it."""

from __future__ import annotations

import io
import os
from pathlib import Path

_BOUNDED_BYTES = 1 << 16  # a longer read looks first how much there is


class BoundedFile(io.BufferedReader):
    """Takes no memory for bytes that are not there: a length in a damaged header may be anything up
    to 4 GB.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > _BOUNDED_BYTES:
            size = min(size, max(0, os.fstat(self.fileno()).st_size - self.tell()))
        return super().read(size)
