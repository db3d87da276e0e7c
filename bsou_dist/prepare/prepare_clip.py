"""From frames as found to frames as trained on: the fan alone, grey, on a fixed physical scale."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, field_validator

from bsou_dist.common.strict_config import StrictConfig
from bsou_dist.prepare.doppler import coloured_share
from bsou_dist.prepare.fan import fan_mask
from bsou_dist.sources.raw_clip import RawClip, checked_mm_per_px, even_indices, shrinkage

_SEEN_LEVEL = 20  # grey levels; darker is no echo
_MIN_FAN_SHARE = 0.02  # of the picture
_MIN_ECHO_SHARE = 0.02  # of the fan
_MAX_COLOURED_SHARE = 0.01  # of the fan, in any frame
_DEPTH_MM = (15.0, 600.0)  # a fan shallower or deeper than this has its spacing in another unit


class RejectedClip(Exception):
    """A clip that can be read and is of no use; the message starts with the reason that is
    counted.
    """


class PrepareConfig(StrictConfig):
    """How clips are prepared. The default scale is 192 mm over 256 pixels, 0.75 mm per pixel."""

    field_mm: float = Field(default=192.0, gt=0, allow_inf_nan=False)
    size_px: int = Field(default=256, ge=16, le=2048)
    max_frames: int = Field(default=48, ge=2)
    min_frames: int = Field(default=4, ge=2)

    @field_validator("size_px")
    @classmethod
    def _even(cls, size_px: int) -> int:
        if size_px % 2:
            raise ValueError(
                f"size_px is {size_px}; it must be even, because video codecs halve it"
            )
        return size_px

    @property
    def mm_per_px(self) -> float:
        """Pixel spacing (mm) of prepared clips of known spacing."""
        return self.field_mm / self.size_px


@dataclass(frozen=True)
class PreparedClip:
    """A clip at rest.

    Attributes:
        frames: uint8 grey, (F, S, S); 0 outside the fan.
        mm_per_px: the same for every clip of known spacing, or None: such a clip says nothing about
            size.
        depth_lost_mm: how much of the fan's depth lies below the field; 0 where the spacing is
            unknown.
    """

    frames: NDArray[np.uint8]
    mm_per_px: float | None
    depth_lost_mm: float


def prepare(raw: RawClip, config: PrepareConfig, mm_per_px: float | None = None) -> PreparedClip:
    """Crop to the ultrasound region, blank all but the fan, turn to grey and resample to the
    physical field.

    The fan's box is centred across and starts at the top of the field, so that a row means a depth.
    What leaves the field is cut, what is missing is padded with 0, and nothing is stretched.
    Without spacing the longer side of the box fills the frame.

    Args:
        raw: the clip as read.
        config: scale and number of frames.
        mm_per_px: spacing from the cohort table, used where the file has none.

    Raises:
        RejectedClip: still image, too few frames, no tissue, colour Doppler, or implausible
            spacing.
    """
    if raw.source_frames == 1:
        raise RejectedClip("still image: one frame")
    if raw.source_frames < config.min_frames:
        raise RejectedClip(f"too few frames: {raw.source_frames} of at least {config.min_frames}")
    chosen = even_indices(len(raw.frames), config.max_frames)
    frames = raw.frames if len(chosen) == len(raw.frames) else raw.frames[chosen]
    if raw.region is not None:
        frames = frames[:, raw.region.y0 : raw.region.y1, raw.region.x0 : raw.region.x1]
    across_mm = raw.mm_per_px if raw.mm_per_px is not None else checked_mm_per_px(mm_per_px)
    shrink = shrinkage(across_mm, raw.pixel_aspect, config.mm_per_px) if raw.shrunk == 1 else 1
    grey = _shrunken_grey(frames, shrink)

    if (grey.max(axis=0) >= _SEEN_LEVEL).mean() < _MIN_FAN_SHARE:
        raise RejectedClip("no tissue: the picture is dark")
    fan = fan_mask(grey)
    if fan.mean() < _MIN_FAN_SHARE:
        raise RejectedClip("still image: nothing moves from frame to frame")
    if (
        frames.ndim == 4
        and coloured_share(frames[:, ::shrink, ::shrink], fan) > _MAX_COLOURED_SHARE
    ):
        raise RejectedClip("colour Doppler")
    if (grey.mean(axis=0)[fan] >= _SEEN_LEVEL).mean() < _MIN_ECHO_SHARE:
        raise RejectedClip("no tissue: the fan holds no lasting echo")

    if across_mm is not None:
        across_mm *= shrink
    rows, columns = np.nonzero(fan.any(axis=1))[0], np.nonzero(fan.any(axis=0))[0]
    top, bottom, left, right = (
        int(rows[0]),
        int(rows[-1]) + 1,
        int(columns[0]),
        int(columns[-1]) + 1,
    )
    down_px = (bottom - top) * raw.pixel_aspect  # in pixel widths
    depth_mm = down_px * across_mm if across_mm else None
    if depth_mm is not None and not _DEPTH_MM[0] <= depth_mm <= _DEPTH_MM[1]:
        raise RejectedClip(
            f"implausible spacing: {across_mm:.4g} mm per pixel makes the fan {depth_mm:.4g} mm "
            "deep"
        )
    field_px = config.field_mm / across_mm if across_mm else max(right - left, down_px)
    field = (
        (left + right - field_px) / 2,
        float(top),
        (left + right + field_px) / 2,
        top + field_px / raw.pixel_aspect,
    )
    return PreparedClip(
        frames=_resample(grey, fan, field, config.size_px),
        mm_per_px=config.mm_per_px if across_mm else None,
        depth_lost_mm=max(0.0, depth_mm - config.field_mm) if depth_mm is not None else 0.0,
    )


def _shrunken_grey(frames: NDArray[np.uint8], shrink: int) -> NDArray[np.uint8]:
    """(F, ceil(H / shrink), ceil(W / shrink)): ITU-R 601 luma of RGB, averaged over `shrink` by
    `shrink` pixels.
    """
    if frames.ndim == 3 and shrink == 1:
        return frames
    return np.stack(
        [np.asarray(Image.fromarray(frame).convert("L").reduce(shrink)) for frame in frames]
    )


def _resample(
    frames: NDArray[np.uint8],
    fan: NDArray[np.bool_],
    field: tuple[float, float, float, float],
    size_px: int,
) -> NDArray[np.uint8]:
    """The part of the fan inside `field` (left, top, right, bottom in pixels, maybe beyond the
    edge) as a square.

    Averages over the area where it shrinks, weighted towards its middle (an even weight, Pillow's
    BOX, takes or leaves whole pixels, so that edges jump); bilinear where it enlarges.
    """
    left, top, right, bottom = field
    x0, y0 = floor(left), floor(top)
    canvas = np.zeros((ceil(bottom) - y0, ceil(right) - x0), np.uint8)
    height, width = fan.shape
    inside = np.s_[max(0, y0) : min(height, ceil(bottom)), max(0, x0) : min(width, ceil(right))]
    on_canvas = canvas[
        inside[0].start - y0 : inside[0].stop - y0, inside[1].start - x0 : inside[1].stop - x0
    ]
    box = (left - x0, top - y0, right - x0, bottom - y0)
    way = Image.Resampling.HAMMING if right - left >= size_px else Image.Resampling.BILINEAR
    squares = np.empty((len(frames), size_px, size_px), np.uint8)
    for square, frame in zip(squares, frames, strict=True):
        np.multiply(frame[inside], fan[inside], out=on_canvas)
        square[...] = np.asarray(Image.fromarray(canvas).resize((size_px, size_px), way, box))
    return squares
