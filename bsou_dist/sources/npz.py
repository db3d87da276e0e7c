"""NumPy archives: `frames`, and maybe `mm_per_px`, read a frame at a time."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from bsou_dist.common.frame_range import FrameRange
from bsou_dist.sources.grey_levels import to_frames
from bsou_dist.sources.raw_clip import (
    MAX_DEFLATION,
    RawClip,
    UnreadableClip,
    checked_aspect,
    checked_mm_per_px,
    even_indices,
    part_of,
    refuse_impossible,
)

_SPACING_NAME = "mm_per_px"
_SPACING_MEMBER = f"{_SPACING_NAME}.npy"
_MEMBERS_LOOKED_AT = 20
_DAMAGES = (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError)


def read_npz(path: Path, max_frames: int | None = None, part: FrameRange | None = None) -> RawClip:
    """Read the array `frames`, and `mm_per_px` if there is one.

    `frames` is (F, H, W) or (F, H, W, C) with 1 to 4 channels. `mm_per_px` is a number, or two: the
    distance of rows, then that of columns. A few kB of archive may unpack to terabytes: only the
    frames wanted are held, and none before their size is known. Of a `part` its frames alone.

    Raises:
        UnreadableClip: damaged, no such array, or not a stack of frames.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if "frames.npy" not in names:
                if _holds_dicom(archive):
                    raise UnreadableClip(
                        "a ZIP archive of DICOM files; unpack it and name each clip in the table"
                    )
                raise UnreadableClip("the NPZ has no array 'frames'")
            most_bytes = path.stat().st_size * MAX_DEFLATION
            with archive.open("frames.npy") as member:
                frames, count = _frames(member, most_bytes, max_frames, part)
            spacing: list[float] = []
            if _SPACING_MEMBER in names:
                with archive.open(_SPACING_MEMBER) as member:
                    spacing = _few_numbers(member)
    except _DAMAGES as error:
        raise UnreadableClip(f"damaged npz file ({type(error).__name__})") from None
    mm_per_px, pixel_aspect, notes = _pixel_size(spacing)
    return RawClip(
        frames=to_frames(frames),
        source="npz",
        source_frames=count,
        mm_per_px=mm_per_px,
        scale_source=None if mm_per_px is None else _SPACING_NAME,
        pixel_aspect=pixel_aspect,
        notes=notes,
    )


def _pixel_size(spacing: list[float]) -> tuple[float | None, float, tuple[str, ...]]:
    """Width of a pixel in mm or None, its height over it, and notes."""
    checked = [checked_mm_per_px(value) for value in spacing]
    down_mm, across_mm = (checked * 2)[:2] if checked else (None, None)
    if down_mm is None or across_mm is None:
        return None, 1.0, ()
    aspect = down_mm / across_mm
    if checked_aspect(aspect) != aspect:
        note = f"scale: {_SPACING_NAME} makes pixels that no screen has, and does not count"
        return None, 1.0, (note,)
    return across_mm, aspect, ()


def _holds_dicom(archive: zipfile.ZipFile) -> bool:
    """Whether one of the first files in an archive is DICOM."""
    for info in archive.infolist()[:_MEMBERS_LOOKED_AT]:
        with archive.open(info) as member:
            if member.read(132)[128:] == b"DICM":
                return True
    return False


def _frames(
    member: IO[bytes], most_bytes: int, max_frames: int | None, part: FrameRange | None
) -> tuple[NDArray[np.generic], int]:
    """The frames wanted, and how many the archive or its part holds."""
    shape, is_column_major, dtype = _header(member)
    is_grey_stack = len(shape) == 3
    is_channel_stack = len(shape) == 4 and 1 <= shape[3] <= 4
    if not (is_grey_stack or is_channel_stack):
        raise UnreadableClip(
            f"the NPZ's frames have shape {shape}, not (F, H, W) or (F, H, W, 1 to 4)"
        )
    if is_column_major:
        raise UnreadableClip(
            "the NPZ's frames are in column-major order; save them with numpy.ascontiguousarray"
        )
    count, height, width = shape[:3]
    frame_shape = shape[1:]
    frame_bytes = math.prod(frame_shape) * dtype.itemsize
    refuse_impossible(count, height, width, count * frame_bytes, most_bytes)
    frames = []
    next_index = 0
    numbers = part_of(count, part)
    for place in even_indices(len(numbers), max_frames):
        index = numbers[place]
        skipped_bytes = (index - next_index) * frame_bytes
        member.seek(member.tell() + skipped_bytes)
        data = member.read(frame_bytes)
        if len(data) < frame_bytes:
            raise EOFError
        frames.append(np.frombuffer(data, dtype).reshape(frame_shape))
        next_index = index + 1
    return np.stack(frames), len(numbers)


def _few_numbers(member: IO[bytes]) -> list[float]:
    """The one or two numbers of an array, or none if it holds anything else."""
    shape, _, dtype = _header(member)
    if shape not in ((), (1,), (2,)) or dtype.kind not in "iuf":
        return []
    data = member.read(math.prod(shape) * dtype.itemsize)
    return np.frombuffer(data, dtype).astype(float).tolist()


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape of an array, whether it is in column-major order, and its dtype."""
    version = npy.read_magic(member)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, is_column_major, dtype = read(member)
    if dtype.hasobject:
        raise UnreadableClip("the NPZ holds Python objects, not numbers")
    return shape, is_column_major, dtype
