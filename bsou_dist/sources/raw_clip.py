"""A clip as its file holds it, before any preparation, and what the readers share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

import numpy as np
from numpy.typing import NDArray

SourceKind = Literal["dicom", "video", "volume", "npz"]

MAX_DEFLATION = 1032
"""How much smaller zlib can make anything, whatever a header claims."""

_RATE_TOLERANCE = 0.5  # of the usual time between two frames; containers round times
_MAX_ASPECT = 4.0
_MAX_SIDE_PX = 1 << 14  # of a picture


class UnreadableClip(Exception):
    """The file holds no clip that can be read; the message quotes neither its header nor path."""


class UnreachableClip(UnreadableClip):
    """The file is not there or cannot be opened, which may pass: a file server may be away."""


@dataclass(frozen=True)
class Region:
    """A 2D ultrasound region inside the frame, in pixels; `x1` and `y1` are exclusive."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width(self) -> int:
        """Its width in pixels."""
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        """Its height in pixels."""
        return self.y1 - self.y0

    def shrunk(self, factor: int) -> Region:
        """The region in pixels `factor` times as large, without those that reach over its edge."""
        return Region(
            x0=ceil(self.x0 / factor),
            y0=ceil(self.y0 / factor),
            x1=self.x1 // factor,
            y1=self.y1 // factor,
        )


@dataclass(frozen=True)
class RawClip:
    """Frames as shown on the screen, with the spacing the file states.

    Attributes:
        frames: uint8, (F, H, W) grey or (F, H, W, 3) RGB; evenly chosen where the reader was asked
            for fewer.
        source: which reader made it.
        source_frames: frames in the file, of which `frames` is a choice.
        mm_per_px: width of a pixel in mm, or None where the file does not say.
        scale_source: which statement of the file `mm_per_px` is from.
        pixel_aspect: height of a pixel over its width.
        region: the ultrasound region, or None where the file has none that can be trusted.
        shrunk: by how much the reader shrank the file's pictures; spacing and region are those of
            `frames`.
        notes: what in the file contradicts itself or was set right, as texts that quote neither
            header nor path; what stands before ': ' is a note's class.
    """

    frames: NDArray[np.uint8]
    source: SourceKind
    source_frames: int
    mm_per_px: float | None = None
    scale_source: str | None = None
    pixel_aspect: float = 1.0
    region: Region | None = None
    shrunk: int = 1
    notes: tuple[str, ...] = ()


def even_indices(count: int, wanted: int | None) -> list[int]:
    """At most `wanted` frame numbers of 0..count-1, evenly spread, both ends included.

    All of them where `wanted` is None.
    """
    if wanted is None or count <= wanted:
        return list(range(count))
    positions = np.linspace(0, count - 1, wanted)
    return sorted({round(position) for position in positions})


def refuse_impossible(
    count: int, height: int, width: int, claimed_bytes: float, most_bytes: int
) -> None:
    """Refuse a header that claims frames that cannot be, before memory is taken for them.

    Args:
        count: frames claimed.
        height: their height in pixels.
        width: their width in pixels.
        claimed_bytes: size of all their pixels at rest.
        most_bytes: size of pixels that the file can hold.

    Raises:
        UnreadableClip: no picture has such a size, or the file is too small for them.
    """
    if min(count, height, width) < 1 or max(height, width) > _MAX_SIDE_PX:
        raise UnreadableClip(f"its header claims {count} frames of {width} by {height} pixels")
    if claimed_bytes > most_bytes:
        at_most = int(count * most_bytes / claimed_bytes)
        raise UnreadableClip(
            f"incomplete or damaged: its header claims {count} frames of {width} by {height} "
            f"pixels, and at most {at_most} are there"
        )


def shrinkage(mm_per_px: float | None, pixel_aspect: float, wanted_mm_per_px: float | None) -> int:
    """2 where a picture of half the height and width is still as fine as wanted, else 1.

    It is 1 where either spacing is unknown. Everything after decoding works on a quarter of the
    pixels then, and some decoders shrink for nothing. Never more, because thin print must stay
    bright enough to be found and blanked.
    """
    if mm_per_px is None or wanted_mm_per_px is None:
        return 1
    halved_mm_per_px = 2 * mm_per_px * max(1.0, pixel_aspect)  # along the pixel's longer side
    return 2 if halved_mm_per_px <= wanted_mm_per_px else 1


def even_in_time(frame_times: Sequence[float], wanted: int | None) -> list[int]:
    """At most `wanted` frame numbers, evenly spread over time where frames come at a varying rate.

    Evenly over the frames where their rate is steady, where their times say nothing (some unknown,
    or two the same), or where they would leave out most of what is wanted (a clock that jumped).

    Args:
        frame_times: the time of each frame, in any unit.
        wanted: how many frames to choose at most, or None for all.
    """
    count = len(frame_times)
    even = even_indices(count, wanted)
    if wanted is None or len(even) < 3 or len(even) == count:
        return even
    times = np.asarray(frame_times)
    steps = np.diff(times)
    usual_step = np.median(steps)
    if not (steps > 0).all():  # as where a time is NaN
        return even
    is_steady = (np.abs(steps - usual_step) < _RATE_TOLERANCE * usual_step).all()
    if is_steady:
        return even
    inner_targets = np.linspace(times[0], times[-1], wanted)[1:-1]
    next_frames = np.searchsorted(times, inner_targets)
    since_previous = inner_targets - times[next_frames - 1]
    until_next = times[next_frames] - inner_targets
    nearest_frames = next_frames - (since_previous < until_next)
    chosen = sorted({0, count - 1, *nearest_frames.tolist()})
    return chosen if len(chosen) > wanted / 2 else even


def checked_aspect(value: float) -> float:
    """The ratio of a pixel's sides, either over the other, if screens have such pixels, else 1."""
    return value if 1 / _MAX_ASPECT <= value <= _MAX_ASPECT else 1.0


def checked_mm_per_px(value: float | None) -> float | None:
    """The spacing if it is a positive number, else None: a spacing that cannot be is no spacing."""
    if value is None or not np.isfinite(value) or value <= 0:
        return None
    return float(value)
