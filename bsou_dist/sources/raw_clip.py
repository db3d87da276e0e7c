"""A clip as its file holds it, before any preparation, and what the readers share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

SourceKind = Literal["dicom", "video", "volume", "npz"]

_RATE_TOLERANCE = 0.5  # of the usual time between two frames; containers round times
_MAX_ASPECT = 4.0

MAX_DEFLATION = 1032
"""How much smaller zlib can make anything, whatever a header claims."""

_MAX_SIDE_PX = 1 << 14  # of a picture


class UnreadableClip(Exception):
    """The file holds no clip that can be read. The message never quotes the file's header or
    path.
    """


class UnreachableClip(UnreadableClip):
    """The file is not there or cannot be opened, which may pass: a file server may be away."""


@dataclass(frozen=True)
class Region:
    """A 2D ultrasound region inside the frame, in pixels; `x1` and `y1` are exclusive."""

    x0: int
    y0: int
    x1: int
    y1: int

    def shrunk(self, factor: int) -> Region:
        """The same region in pixels `factor` times as large, without any that reaches over its
        edge.
        """
        return Region(
            -(-self.x0 // factor), -(-self.y0 // factor), self.x1 // factor, self.y1 // factor
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
        pixel_aspect: height of a pixel over its width.
        region: the ultrasound region, or None where the file has none that can be trusted.
        shrunk: by how much the reader shrank the file's pictures; spacing and region are those of
            `frames`.
    """

    frames: NDArray[np.uint8]
    source: SourceKind
    source_frames: int
    mm_per_px: float | None = None
    pixel_aspect: float = 1.0
    region: Region | None = None
    shrunk: int = 1


def even_indices(count: int, wanted: int | None) -> list[int]:
    """At most `wanted` frame numbers of 0..count-1, evenly spread, first and last included; all for
    None.
    """
    if wanted is None or count <= wanted:
        return list(range(count))
    return sorted({round(position) for position in np.linspace(0, count - 1, wanted)})


def refuse_impossible(
    count: int, height: int, width: int, claimed_bytes: float, most_bytes: int
) -> None:
    """UnreadableClip if a header claims frames that cannot be, before memory is taken for them.

    Args:
        count: frames claimed.
        height: of each.
        width: of each.
        claimed_bytes: of all their pixels at rest.
        most_bytes: of pixels that the file can hold.
    """
    if min(count, height, width) < 1 or max(height, width) > _MAX_SIDE_PX:
        raise UnreadableClip(f"its header claims {count} frames of {width} by {height} pixels")
    if claimed_bytes > most_bytes:
        raise UnreadableClip(
            f"incomplete or damaged: its header claims {count} frames of {width} by {height} "
            "pixels, "
            "more than the file can hold"
        )


def shrinkage(mm_per_px: float | None, pixel_aspect: float, wanted_mm_per_px: float | None) -> int:
    """2 where a picture of half the height and width is still at least as fine as wanted, else (or
    if unknown) 1.

    Everything after decoding works on a quarter of the pixels then, and some decoders shrink for
    nothing. Never more, because thin print must stay bright enough to be found and blanked.
    """
    if mm_per_px is None or wanted_mm_per_px is None:
        return 1
    return 2 if 2 * mm_per_px * max(1.0, pixel_aspect) <= wanted_mm_per_px else 1


def even_in_time(times: Sequence[float], wanted: int | None) -> list[int]:
    """At most `wanted` frame numbers, evenly spread over the time of the frames, which may come at
    a varying rate.

    Evenly over the frames where their times say nothing (some unknown, or two the same), or would
    leave out most of what is wanted (a clock that jumped).
    """
    even = even_indices(len(times), wanted)
    if wanted is None or len(even) < 3 or len(even) == len(times):
        return even
    moments = np.asarray(times)
    steps = np.diff(moments)
    usual = np.median(steps)
    if not (steps > 0).all() or (np.abs(steps - usual) < _RATE_TOLERANCE * usual).all():
        return even
    targets = np.linspace(moments[0], moments[-1], wanted)[1:-1]
    after = np.searchsorted(moments, targets)
    nearest = after - (targets - moments[after - 1] < moments[after] - targets)
    chosen = sorted({0, len(times) - 1, *nearest.tolist()})
    return chosen if len(chosen) > wanted / 2 else even


def to_frames(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Numbers (F, H, W) or (F, H, W, C) to frames: 1 channel is grey, 3 are RGB; with 2 or 4 the
    last is opacity.
    """
    if values.ndim == 3 or values.shape[3] == 3:
        return to_uint8(values)
    if values.shape[3] == 1:
        return to_uint8(values[..., 0])
    colours, opacity = to_uint8(values[..., :-1]), values[..., -1:]
    whole = float(np.iinfo(opacity.dtype.str).max) if opacity.dtype.kind in "iu" else 1.0
    share = np.clip(opacity.astype(np.float32) / whole, 0.0, 1.0)
    shown = on_black(np.concatenate([colours, np.rint(share * 255).astype(np.uint8)], axis=-1))
    return shown[..., 0] if shown.shape[3] == 1 else shown


def on_black(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pixels whose last channel is their opacity, over black: (..., C + 1) to (..., C)."""
    colours, opacity = values[..., :-1].astype(np.uint16), values[..., -1:]
    return ((colours * opacity + 127) // 255).astype(np.uint8)


def to_uint8(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Any real numbers to 0..255, with one scale for the whole clip so that brightness stays
    comparable.
    """
    if values.dtype == np.uint8:
        return values.astype(np.uint8, copy=False)
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind not in "iuf":
        raise UnreadableClip("its pixels are not real numbers")
    numbers = values.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise UnreadableClip("its pixels hold NaN or infinity")
    low, high = float(numbers.min()), float(numbers.max())
    if high == low:
        return np.zeros(values.shape, np.uint8)
    return np.rint((numbers - low) * (255.0 / (high - low))).astype(np.uint8)


def checked_aspect(value: float) -> float:
    """A pixel's width over its height, or the other way round, if a screen can have such pixels,
    else 1.
    """
    return value if 1 / _MAX_ASPECT <= value <= _MAX_ASPECT else 1.0


def checked_mm_per_px(value: float | None) -> float | None:
    """The spacing if it is a positive number, else None: a spacing that cannot be is no spacing."""
    return float(value) if value is not None and np.isfinite(value) and value > 0 else None
