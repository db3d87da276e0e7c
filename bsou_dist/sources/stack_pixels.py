"""The pixels of a stack of frames, read piece by piece and proven to be the file's own.

A library that fills an array from a file too short for it leaves in the rest of the array what lay
in memory before, which may be another patient's picture. Here every byte comes out of the file.
"""

from __future__ import annotations

import bz2
import os
import zlib
from collections.abc import Iterator
from typing import IO, Protocol

import numpy as np
from numpy.typing import NDArray

from bsou_dist.common.frame_range import FrameRange
from bsou_dist.sources.raw_clip import (
    MAX_DEFLATION,
    UnreadableClip,
    even_indices,
    part_of,
    refuse_impossible,
)
from bsou_dist.sources.stack_header import Axis, StackHeader

_AXES_WANTED: tuple[Axis, ...] = ("frame", "row", "column", "channel")
_PIECE_BYTES = 1 << 16
_ZLIB_OR_GZIP = zlib.MAX_WBITS + 32  # zlib finds out which of the two it is given
_MAX_BZIP2_RATIO = 30_000  # 40 bytes and more stand for a block of 900 kB of zeros


class PixelReader(Protocol):
    """Reads on in the pixels of a stack, unpacked where they are packed."""

    def read(self, size: int) -> bytes:
        """The next `size` bytes, or fewer where the pixels end."""
        ...

    def skip(self, size: int) -> int:
        """Pass over the next `size` bytes; returns how many there are, fewer at their end."""
        ...

    def expect_end(self) -> None:
        """Raise UnreadableClip where more follows, or what was read was not proven whole."""
        ...


def read_stack(
    header: StackHeader, max_frames: int | None = None, part: FrameRange | None = None
) -> NDArray[np.generic]:
    """Read frames, (F, H, W) or (F, H, W, C).

    Args:
        header: where and how the pixels lie.
        max_frames: keep at most so many, evenly chosen; the others are not held in memory.
        part: the frames to choose from; the whole file is proven nevertheless.

    Raises:
        UnreadableClip: the file holds fewer or more pixels than its header claims, or is damaged.
    """
    _refuse_impossible_stack(header)
    numbers = part_of(header.length("frame"), part)
    indices = [numbers[place] for place in even_indices(len(numbers), max_frames)]
    with header.pixel_file.open("rb") as file:
        pixels = _pixel_reader(header, file)
        parts = list(_parts(header, pixels, indices))
        pixels.expect_end()
    names = [name for name, _ in header.axes]
    order = [names.index(axis) for axis in _AXES_WANTED if axis in names]
    return np.ascontiguousarray(np.stack(parts).transpose(order))


def _refuse_impossible_stack(header: StackHeader) -> None:
    most_bytes = header.pixel_file.stat().st_size
    if header.encoding == "deflate":
        most_bytes *= MAX_DEFLATION
    elif header.encoding == "bzip2":
        most_bytes *= _MAX_BZIP2_RATIO
    elif header.encoding == "text":
        most_bytes *= header.dtype.itemsize  # a number takes a digit at least
    count, height, width = (header.length(axis) for axis in _AXES_WANTED[:3])
    refuse_impossible(count, height, width, header.claimed_bytes, most_bytes)


def _parts(
    header: StackHeader, pixels: PixelReader, indices: list[int]
) -> Iterator[NDArray[np.generic]]:
    """The stack's parts along its first axis, of the frames wanted alone."""
    (first_axis, part_count), *inner = header.axes
    inner_names = [name for name, _ in inner]
    inner_shape = [length for _, length in inner]
    part_bytes = header.claimed_bytes // part_count
    wanted = set(indices)
    for number in range(part_count):
        is_wanted = first_axis != "frame" or number in wanted
        data = pixels.read(part_bytes) if is_wanted else b""
        found_bytes = len(data) if is_wanted else pixels.skip(part_bytes)
        if found_bytes < part_bytes:
            found = (
                f"{number} of {part_count} frames" if first_axis == "frame" else "not all pixels"
            )
            raise UnreadableClip(f"incomplete or damaged: {found} are there")
        if not is_wanted:
            continue
        part = np.frombuffer(data, header.dtype).reshape(inner_shape)
        if first_axis != "frame":
            part = part.take(indices, axis=inner_names.index("frame"))
        yield part


def _pixel_reader(header: StackHeader, file: IO[bytes]) -> PixelReader:
    if header.offset is None:
        file_bytes = header.pixel_file.stat().st_size
        file.seek(max(0, file_bytes - header.claimed_bytes))
    else:
        file.seek(header.offset)
    if header.encoding == "deflate":
        return _Inflated(file, header.packed_bytes)
    if header.encoding == "bzip2":
        return _Bzip2(file)
    if header.encoding == "text":
        return _Words(file, header.dtype)
    frame_bytes = header.claimed_bytes // header.length("frame")
    return _Raw(file, frame_bytes)


class _Raw:
    """Numbers as they are in memory."""

    def __init__(self, file: IO[bytes], frame_bytes: int) -> None:
        self._file = file
        self._frame_bytes = frame_bytes
        self._file_bytes = os.fstat(file.fileno()).st_size

    def read(self, size: int) -> bytes:
        return self._file.read(size)

    def skip(self, size: int) -> int:
        there = min(size, max(0, self._file_bytes - self._file.tell()))
        self._file.seek(there, os.SEEK_CUR)
        return there

    def expect_end(self) -> None:
        # Some writers pad a file; a whole frame more is no padding.
        if len(self._file.read(self._frame_bytes)) == self._frame_bytes:
            raise _too_many()


class _Words:
    """Numbers written as text, which few do and which are small enough to be read at once."""

    def __init__(self, file: IO[bytes], dtype: np.dtype) -> None:
        try:
            numbers = np.array(file.read().split()).astype(np.float64)
        except ValueError:
            raise UnreadableClip("its pixels are words that are no numbers") from None
        with np.errstate(invalid="ignore"):
            values = numbers.astype(dtype)
        if dtype.kind in "iu" and not np.array_equal(values, numbers):
            raise UnreadableClip("its pixels are numbers that its type cannot hold")
        self._unread = memoryview(values.tobytes())

    def read(self, size: int) -> bytes:
        data = self._unread[:size]
        self._unread = self._unread[size:]
        return bytes(data)

    def skip(self, size: int) -> int:
        return len(self.read(size))

    def expect_end(self) -> None:
        if self._unread:
            raise _too_many()


class _Bzip2:
    """A bzip2 stream, unpacked no further than it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._unpacked = bz2.BZ2File(file)

    def read(self, size: int) -> bytes:
        try:
            return self._unpacked.read(size)
        except (OSError, EOFError):
            raise _damaged() from None

    def skip(self, size: int) -> int:
        return len(self.read(size))

    def expect_end(self) -> None:
        if self.read(1):
            raise _too_many()


class _Inflated:
    """A zlib or gzip stream, unpacked no further than it is read."""

    def __init__(self, file: IO[bytes], packed_bytes: int | None) -> None:
        self._file = file
        self._packed_left = packed_bytes
        self._inflater = zlib.decompressobj(_ZLIB_OR_GZIP)

    def read(self, size: int) -> bytes:
        unpacked = bytearray()
        while len(unpacked) < size and not self._inflater.eof:
            packed = self._inflater.unconsumed_tail or self._next_packed()
            try:
                piece = self._inflater.decompress(packed, size - len(unpacked))
            except zlib.error:
                raise _damaged() from None
            if not packed and not piece:
                break
            unpacked += piece
        return bytes(unpacked)

    def skip(self, size: int) -> int:
        return len(self.read(size))

    def expect_end(self) -> None:
        if self.read(1):
            raise _too_many()
        if not self._inflater.eof:  # the checksum at its end is missing
            raise _damaged()

    def _next_packed(self) -> bytes:
        wanted = _PIECE_BYTES
        if self._packed_left is not None:
            wanted = min(wanted, self._packed_left)
        packed = self._file.read(wanted)
        if self._packed_left is not None:
            self._packed_left -= len(packed)
        return packed


def _too_many() -> UnreadableClip:
    return UnreadableClip("it holds more pixels than its header claims")


def _damaged() -> UnreadableClip:
    return UnreadableClip("its compressed pixels are damaged or incomplete")
