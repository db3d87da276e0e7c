"""A range of a file's frames, where a clip is a part of a file."""

from __future__ import annotations

import re
from dataclasses import dataclass

ACCEPTED = (
    "a range of frames such as 140:280 (the first is 0, the end is not included), which may say "
    "how many frames the file must hold: 140:280/840"
)

_RANGE = re.compile(r"(\d{1,9}):(\d{1,9})(?:/(\d{1,9}))?", re.ASCII)


@dataclass(frozen=True)
class FrameRange:
    """Frames `start` to `stop` - 1 of a file, the first frame being 0.

    Attributes:
        start: the first frame.
        stop: the frame after the last.
        total: how many frames the whole file must hold, or None where any number will do.
    """

    start: int
    stop: int
    total: int | None = None

    def __str__(self) -> str:
        total = "" if self.total is None else f"/{self.total}"
        return f"{self.frames}{total}"

    @property
    def frames(self) -> str:
        """The frames alone, `start:stop`."""
        return f"{self.start}:{self.stop}"

    def __len__(self) -> int:
        return self.stop - self.start


def parse_frame_range(text: str) -> FrameRange:
    """Read `start:stop` or `start:stop/total`.

    Raises:
        ValueError: it is neither, holds no frame, or ends beyond the total.
    """
    match = _RANGE.fullmatch(text.replace(" ", ""))
    if match is None:
        raise ValueError(f"{text!r} is not {ACCEPTED}")
    start, stop = int(match[1]), int(match[2])
    total = None if match[3] is None else int(match[3])
    if start >= stop or (total is not None and stop > total):
        raise ValueError(f"{text!r} is not {ACCEPTED}")
    return FrameRange(start, stop, total)
