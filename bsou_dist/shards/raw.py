"""A clip as its file holds it, before any preparation, and what the readers share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

SourceKind = Literal["dicom", "video", "volume", "npz"]


class UnreadableClip(Exception):
    """The file holds no clip that can be read. The message never quotes the file's header or path."""


@dataclass(frozen=True)
class Region:
    """A 2D ultrasound region inside the frame, in pixels; `x1` and `y1` are exclusive."""

    x0: int
    y0: int
    x1: int
    y1: int


@dataclass(frozen=True)
class RawClip:
    """Frames as shown on the screen, with the spacing the file states.

    Attributes:
        frames: uint8, (F, H, W) grey or (F, H, W, 3) RGB; evenly chosen where the reader was asked for fewer.
        source: which reader made it.
        source_frames: frames in the file, of which `frames` is a choice.
        mm_per_px: width of a pixel in mm, or None where the file does not say.
        pixel_aspect: height of a pixel over its width.
        region: the ultrasound region, or None where the file has none that can be trusted.
    """

    frames: NDArray[np.uint8]
    source: SourceKind
    source_frames: int
    mm_per_px: float | None = None
    pixel_aspect: float = 1.0
    region: Region | None = None


def even_indices(count: int, wanted: int | None) -> list[int]:
    """At most `wanted` frame numbers of 0..count-1, evenly spread, first and last included; all for None."""
    if wanted is None or count <= wanted:
        return list(range(count))
    return sorted({round(position) for position in np.linspace(0, count - 1, wanted)})


def to_uint8(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Any real numbers to 0..255, with one scale for the whole clip so that brightness stays comparable."""
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


def checked_mm_per_px(value: float | None) -> float | None:
    """The spacing if it is a positive number, else None: a spacing that cannot be is no spacing."""
    return float(value) if value is not None and np.isfinite(value) and value > 0 else None
