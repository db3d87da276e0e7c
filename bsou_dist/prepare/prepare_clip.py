"""From frames as found to frames as trained on: the fan alone, grey, on a fixed physical scale."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, field_validator

from bsou_dist.common.strict_config import StrictConfig
from bsou_dist.prepare.doppler import coloured_share
from bsou_dist.prepare.fan import Fan, find_fan
from bsou_dist.prepare.odd_frames import odd_frames
from bsou_dist.sources.raw_clip import RawClip, checked_mm_per_px, even_indices, shrinkage
from bsou_dist.sources.stated_spacing import StatedSpacing, disagreement_notes

COHORT_TABLE = "cohort table"
"""Source of the scale of a clip whose own file states none."""

_SEEN_LEVEL = 20  # grey levels; darker is no echo
_MIN_FAN_SHARE = 0.02  # of the picture
_MIN_ECHO_SHARE = 0.02  # of the fan
_MAX_COLOURED_SHARE = 0.01  # of the fan, in any frame
_MAX_ODD_SHARE = 0.25  # of the frames; above, nobody knows which screen is the clip's
_DEPTH_MM = (15.0, 600.0)  # a fan shallower or deeper than this has its spacing in another unit


class RejectedClip(Exception):
    """A clip that can be read and is of no use; its message starts with the reason to count."""


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
        scale_source: where the spacing is from, a statement of the file or the cohort table.
        notes: what someone who uses the clip should know, as `RawClip.notes`.
    """

    frames: NDArray[np.uint8]
    mm_per_px: float | None
    depth_lost_mm: float
    scale_source: str | None
    notes: tuple[str, ...]


class _Box(NamedTuple):
    """A part of the picture in pixels, maybe beyond its edges."""

    left: float
    top: float
    right: float
    bottom: float


def prepare(raw: RawClip, config: PrepareConfig, mm_per_px: float | None = None) -> PreparedClip:
    """Crop to the fan, blank the rest, turn to grey and resample to the physical field.

    The fan is looked for in the ultrasound region where the file states one. Its box is centred
    across and starts at the top of the field, so that a row means a depth. What leaves the field is
    cut, what is missing is padded with 0, and nothing is stretched. Without spacing the longer side
    of the box fills the frame.

    Args:
        raw: the clip as read.
        config: scale and number of frames.
        mm_per_px: spacing from the cohort table, used where the file has none.

    Raises:
        RejectedClip: still image, too few frames, changing screens, noise around the fan, no
            tissue, colour Doppler, or implausible spacing.
    """
    if raw.source_frames == 1:
        raise RejectedClip("still image: one frame")
    if raw.source_frames < config.min_frames:
        raise RejectedClip(f"too few frames: {raw.source_frames} of at least {config.min_frames}")
    frames = _frames_of_region(raw, config.max_frames)
    notes = [*raw.notes, *_notes_about_table(raw, mm_per_px)]
    raw_mm_per_px, scale_source = raw.mm_per_px, raw.scale_source
    if raw_mm_per_px is None:
        raw_mm_per_px = checked_mm_per_px(mm_per_px)
        scale_source = None if raw_mm_per_px is None else COHORT_TABLE
    shrink = 1  # print shrunk twice could be too dim to be found
    if raw.shrunk == 1:
        shrink = shrinkage(raw_mm_per_px, raw.pixel_aspect, config.mm_per_px)
    grey = _shrunken_grey(frames, shrink)
    is_odd = _odd_frames(grey, config.min_frames)
    if is_odd.any():
        grey, frames = grey[~is_odd], frames[~is_odd]
        notes.append(f"frames dropped: {np.count_nonzero(is_odd)} show another screen")
    found = _fan_of_tissue(grey, frames[:, ::shrink, ::shrink])
    fan = found.mask
    notes += _notes_on(found)

    grey_mm_per_px = None if raw_mm_per_px is None else raw_mm_per_px * shrink
    box = _bounding_box(fan)
    depth_px = (box.bottom - box.top) * raw.pixel_aspect  # in pixel widths
    if grey_mm_per_px is None:
        field_px = max(box.right - box.left, depth_px)
        depth_lost_mm = 0.0
    else:
        depth_mm = depth_px * grey_mm_per_px
        if not _DEPTH_MM[0] <= depth_mm <= _DEPTH_MM[1]:
            raise RejectedClip(
                f"implausible spacing: {grey_mm_per_px:.4g} mm per pixel makes the fan "
                f"{depth_mm:.4g} mm deep"
            )
        field_px = config.field_mm / grey_mm_per_px
        depth_lost_mm = max(0.0, depth_mm - config.field_mm)
        if depth_lost_mm > 0:
            notes.append(f"depth lost: {depth_lost_mm:.1f} mm of the fan lie below the field")
    field = _Box(
        left=(box.left + box.right - field_px) / 2,
        top=box.top,
        right=(box.left + box.right + field_px) / 2,
        bottom=box.top + field_px / raw.pixel_aspect,
    )
    return PreparedClip(
        frames=_resample(grey, fan, field, config.size_px),
        mm_per_px=None if grey_mm_per_px is None else config.mm_per_px,
        depth_lost_mm=depth_lost_mm,
        scale_source=scale_source,
        notes=tuple(notes),
    )


def _notes_about_table(raw: RawClip, table_mm_per_px: float | None) -> tuple[str, ...]:
    """A note where the cohort table states another width of the file's pixels than the file."""
    stated_mm = checked_mm_per_px(table_mm_per_px)
    if raw.mm_per_px is None or stated_mm is None:
        return ()
    file_mm = raw.mm_per_px / raw.shrunk  # the table does not know what a reader shrinks
    of_file = StatedSpacing(raw.scale_source or "the file", file_mm, file_mm)
    of_table = StatedSpacing(COHORT_TABLE, stated_mm, stated_mm)
    return disagreement_notes(of_file, [of_table])


def _frames_of_region(raw: RawClip, max_frames: int) -> NDArray[np.uint8]:
    """Evenly chosen frames, cut to the ultrasound region; copied only if some are left out."""
    chosen = even_indices(len(raw.frames), max_frames)
    frames = raw.frames if len(chosen) == len(raw.frames) else raw.frames[chosen]
    region = raw.region
    if region is None:
        return frames
    return frames[:, region.y0 : region.y1, region.x0 : region.x1]


def _shrunken_grey(frames: NDArray[np.uint8], shrink: int) -> NDArray[np.uint8]:
    """ITU-R 601 luma, averaged over `shrink` by `shrink` pixels.

    Args:
        frames: grey (F, H, W) or RGB (F, H, W, 3).
        shrink: 1 or 2.

    Returns:
        (F, ceil(H / shrink), ceil(W / shrink)).
    """
    if frames.ndim == 3 and shrink == 1:
        return frames
    shrunken = []
    for frame in frames:
        luma = Image.fromarray(frame).convert("L")
        shrunken.append(np.asarray(luma.reduce(shrink)))
    return np.stack(shrunken)


def _odd_frames(grey: NDArray[np.uint8], min_frames: int) -> NDArray[np.bool_]:
    """Which frames (F,) show another screen, or RejectedClip where they are too many."""
    is_odd = odd_frames(grey)
    odd, count = np.count_nonzero(is_odd), len(is_odd)
    if odd > _MAX_ODD_SHARE * count:
        raise RejectedClip(f"changing screens: {odd} of {count} frames show another one")
    if odd and count - odd < min_frames:
        raise RejectedClip(
            f"too few frames: {count - odd} of at least {min_frames} without another screen"
        )
    return is_odd


def _notes_on(fan: Fan) -> list[str]:
    """What to say of a fan beside its mask."""
    notes = []
    if fan.noise_around:
        notes.append("noise around the fan: it was told apart, and dim depths may be cut")
    if fan.fills_picture:
        notes.append("fan fills the picture: print may stand in it, look at the privacy sheet")
    if fan.is_dark_scene:
        notes.append("dark scene: the fan is where anything ever moved")
    return notes


def _fan_of_tissue(grey: NDArray[np.uint8], frames: NDArray[np.uint8]) -> Fan:
    """The fan, or RejectedClip where it shows no tissue, or colours.

    Args:
        grey: the clip in grey, (F, H, W).
        frames: the same clip in its own colours or grey, of the same height and width.
    """
    ever_seen = grey.max(axis=0) >= _SEEN_LEVEL
    if ever_seen.mean() < _MIN_FAN_SHARE:
        raise RejectedClip("no tissue: the picture is dark")
    found = find_fan(grey)
    fan = found.mask
    if fan.mean() < _MIN_FAN_SHARE and found.noise_around:
        raise RejectedClip("noise around the fan: nothing moves beyond it")
    if fan.mean() < _MIN_FAN_SHARE:
        raise RejectedClip("still image: nothing moves from frame to frame")
    if frames.ndim == 4 and coloured_share(frames, fan) > _MAX_COLOURED_SHARE:
        raise RejectedClip("colour Doppler")
    total = grey.sum(axis=0, dtype=np.uint32)  # in half the time of a mean
    seen_on_average = total[fan] >= _SEEN_LEVEL * len(grey)
    if seen_on_average.mean() < _MIN_ECHO_SHARE:
        raise RejectedClip("no tissue: the fan holds no lasting echo")
    return found


def _bounding_box(mask: NDArray[np.bool_]) -> _Box:
    rows = np.nonzero(mask.any(axis=1))[0]
    columns = np.nonzero(mask.any(axis=0))[0]
    return _Box(
        left=float(columns[0]),
        top=float(rows[0]),
        right=float(columns[-1] + 1),
        bottom=float(rows[-1] + 1),
    )


def _resample(
    frames: NDArray[np.uint8], fan: NDArray[np.bool_], field: _Box, size_px: int
) -> NDArray[np.uint8]:
    """The part of the fan inside the field as squares, (F, size_px, size_px).

    Averages over the area where it shrinks, weighted towards its middle (an even weight, Pillow's
    BOX, takes or leaves whole pixels, so that edges jump); bilinear where it enlarges.
    """
    # The canvas is the field out to whole pixels; what lies beyond the picture stays 0 on it.
    x0, x1 = floor(field.left), ceil(field.right)
    y0, y1 = floor(field.top), ceil(field.bottom)
    canvas = np.zeros((y1 - y0, x1 - x0), np.uint8)
    field_on_canvas = (field.left - x0, field.top - y0, field.right - x0, field.bottom - y0)

    height, width = fan.shape
    rows = slice(max(0, y0), min(height, y1))
    columns = slice(max(0, x0), min(width, x1))
    rows_on_canvas = slice(rows.start - y0, rows.stop - y0)
    columns_on_canvas = slice(columns.start - x0, columns.stop - x0)
    picture_on_canvas = canvas[rows_on_canvas, columns_on_canvas]
    fan_in_field = fan[rows, columns]

    shrinks = field.right - field.left >= size_px
    filter_ = Image.Resampling.HAMMING if shrinks else Image.Resampling.BILINEAR
    squares = np.empty((len(frames), size_px, size_px), np.uint8)
    for square, frame in zip(squares, frames, strict=True):
        np.multiply(frame[rows, columns], fan_in_field, out=picture_on_canvas)
        picture = Image.fromarray(canvas)
        square[...] = np.asarray(picture.resize((size_px, size_px), filter_, field_on_canvas))
    return squares
