"""NumPy archives: `frames`, and maybe `mm_per_px`, read a frame at a time."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from bsou_dist.sources.raw_clip import (
    MAX_DEFLATION,
    RawClip,
    UnreadableClip,
    checked_mm_per_px,
    even_indices,
    refuse_impossible,
    to_frames,
)

_DAMAGES = (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError)


def read_npz(path: Path, max_frames: int | None = None) -> RawClip:
    """Read `frames`, (F, H, W) or (F, H, W, C) with 1 to 4 channels, and the scalar `mm_per_px` if
    there is one.

    A few kB of archive may unpack to terabytes: only the frames wanted are held, and none before
    their size is known.

    Raises:
        UnreadableClip: damaged, no such array, or not a stack of frames.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if "frames.npy" not in names:
                raise UnreadableClip("the NPZ has no array 'frames'")
            with archive.open("frames.npy") as member:
                frames, count = _frames(member, path.stat().st_size * MAX_DEFLATION, max_frames)
            mm_per_px = None
            if "mm_per_px.npy" in names:
                with archive.open("mm_per_px.npy") as member:
                    mm_per_px = _scalar(member)
    except _DAMAGES as error:
        raise UnreadableClip(f"damaged npz file ({type(error).__name__})") from None
    return RawClip(to_frames(frames), "npz", count, checked_mm_per_px(mm_per_px))


def _frames(
    member: IO[bytes], most_bytes: int, max_frames: int | None
) -> tuple[NDArray[np.generic], int]:
    """The frames wanted, and how many there are."""
    shape, column_major, dtype = _header(member)
    if len(shape) not in (3, 4) or (len(shape) == 4 and not 1 <= shape[3] <= 4):
        raise UnreadableClip(
            f"the NPZ's frames have shape {shape}, not (F, H, W) or (F, H, W, 1 to 4)"
        )
    if column_major:
        raise UnreadableClip(
            "the NPZ's frames are in column-major order; save them with numpy.ascontiguousarray"
        )
    count, frame_bytes = shape[0], math.prod(shape[1:]) * dtype.itemsize
    refuse_impossible(count, shape[1], shape[2], count * frame_bytes, most_bytes)
    frames = []
    at = 0
    for index in even_indices(count, max_frames):
        member.seek(member.tell() + (index - at) * frame_bytes)
        data = member.read(frame_bytes)
        if len(data) < frame_bytes:
            raise EOFError
        frames.append(np.frombuffer(data, dtype).reshape(shape[1:]))
        at = index + 1
    return np.stack(frames), count


def _scalar(member: IO[bytes]) -> float | None:
    shape, _, dtype = _header(member)
    if shape not in ((), (1,)) or dtype.kind not in "iuf":
        return None
    return float(np.frombuffer(member.read(dtype.itemsize), dtype)[0])


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = npy.read_magic(member)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, column_major, dtype = read(member)
    if dtype.hasobject:
        raise UnreadableClip("the NPZ holds Python objects, not numbers")
    return shape, column_major, dtype
