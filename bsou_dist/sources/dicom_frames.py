"""Where each frame of a DICOM file lies, whatever its header and offset table say."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, RLELossless

from bsou_dist.sources.bounded_file import BoundedFile
from bsou_dist.sources.raw_clip import UnreadableClip

_UNDEFINED_LENGTH = 0xFFFFFFFF  # of encapsulated pixel data
_ITEM_TAG = (0xFFFE, 0xE000)
_ITEM_HEAD_BYTES = 8
_OFFSET_BYTES = 4
_FRAME_MARKS = (b"\xff\xd8", b"\xff\x4f\xff\x51")  # of JPEG and JPEG-LS, and of JPEG 2000
_MARK_BYTES = 4
# Compressed data holds no such bytes: an end is followed by a beginning between two frames alone.
_NEXT_FRAME = re.compile(rb"(?<=\xff\xd9)\x00*(?=\xff\xd8\xff|\xff\x4f\xff\x51)")


class PixelDataPlace(NamedTuple):
    """Where the pixel data's bytes begin in a file, and the length that its element states."""

    begin: int
    length: int
    value_representation: str

    @property
    def is_encapsulated(self) -> bool:
        """Whether the bytes are fragments, each with a head of its own."""
        return self.length == _UNDEFINED_LENGTH


class _Fragment(NamedTuple):
    """A piece of a compressed frame: where its bytes are, and the first of them."""

    begin: int
    length: int
    mark: bytes

    @property
    def begins_a_frame(self) -> bool:
        return self.mark.startswith(_FRAME_MARKS)


_Frame = list[_Fragment]


def pixel_data_place(file: BoundedFile) -> PixelDataPlace:
    """Find the pixel data; `file` stands at its first byte then.

    Raises:
        UnreadableClip: there is none.
    """
    file.seek(0)
    header = pydicom.dcmread(file, stop_before_pixels=True, force=True)
    is_implicit, is_little_endian = header.original_encoding
    head = file.read(8 if is_implicit else 12)
    if len(head) < 8:
        raise UnreadableClip("incomplete or damaged: its pixel data is missing")
    (length,) = struct.unpack("<I" if is_little_endian else ">I", head[-4:])
    representation = "OW" if is_implicit else head[4:6].decode("latin-1")
    return PixelDataPlace(file.tell(), int(length), representation)


def counted_frames(path: Path, header: Dataset, syntax: UID | None) -> int:
    """Frames of a file whose header has no NumberOfFrames; 1 where they cannot be told apart.

    Uncompressed ones are counted by their size. A fragment of run lengths is a frame (PS3.5 A.4.2);
    others begin with a mark, and a fragment without it goes on with the frame before it.
    """
    if syntax == DeflatedExplicitVRLittleEndian:
        return 1
    with BoundedFile(path) as file:
        place = pixel_data_place(file)
        if place.is_encapsulated:
            _, fragments = _offsets_and_fragments(file)
            if syntax == RLELossless:
                return max(1, len(fragments))
            return max(1, sum(fragment.begins_a_frame for fragment in fragments))
    frame_bytes = stored_frame_bytes(header)
    return max(1, int(place.length // frame_bytes)) if frame_bytes > 0 else 1


def stored_frame_bytes(header: Dataset) -> float:
    """Size of an uncompressed frame at rest."""
    # Of 4:2:2, two values a pixel are stored: two pixels share their chroma.
    is_422 = header.get("PhotometricInterpretation") == "YBR_FULL_422"
    samples = 2 if is_422 else int(header.get("SamplesPerPixel", 1))
    bits = samples * int(header.get("BitsAllocated", 8))
    return int(header.Rows) * int(header.Columns) * bits / 8


def compressed_frames(path: Path, header: Dataset, indices: Sequence[int]) -> list[bytes]:
    """Read the frames wanted, each as the stream of bytes that its decoder takes.

    Fragments are told apart by their number and their first bytes; the offset table, which many
    writers fill wrongly, is asked last.

    Args:
        path: the file, whose pixel data is encapsulated.
        header: its header, with NumberOfFrames.
        indices: frame numbers.

    Raises:
        UnreadableClip: fewer frames are there than the header says.
    """
    count = int(header.NumberOfFrames)
    with BoundedFile(path) as file:
        if not pixel_data_place(file).is_encapsulated:
            raise UnreadableClip("its pixel data is not compressed as its header says")
        offsets, fragments = _offsets_and_fragments(file)
        frames = _frames(file, fragments, offsets, count)
        if len(frames) < count:
            raise UnreadableClip(
                f"incomplete or damaged: its header claims {count} frames, and {len(frames)} are "
                "there"
            )
        return [_bytes_of(file, frames[index]) for index in indices]


def _offsets_and_fragments(file: BoundedFile) -> tuple[set[int], list[_Fragment]]:
    """The offset table, in bytes from the first fragment's head, and all fragments that are whole.

    `file` stands where the pixel data begins.
    """
    items = list(_whole_items(file))
    if not items:
        return set(), []
    table, *fragments = items
    count = table.length // _OFFSET_BYTES
    offsets = struct.unpack(f"<{count}I", _bytes_of(file, [table])[: count * _OFFSET_BYTES])
    return set(offsets), fragments


def _whole_items(file: BoundedFile) -> Iterator[_Fragment]:
    file_bytes = os.fstat(file.fileno()).st_size
    head = file.read(_ITEM_HEAD_BYTES)
    while len(head) == _ITEM_HEAD_BYTES:
        group, element, length = struct.unpack("<HHI", head)
        begin = file.tell()
        if (group, element) != _ITEM_TAG or begin + length > file_bytes:
            return
        yield _Fragment(begin, length, file.read(min(length, _MARK_BYTES)))
        file.seek(begin + length)
        head = file.read(_ITEM_HEAD_BYTES)


def _frames(
    file: BoundedFile, fragments: list[_Fragment], offsets: set[int], count: int
) -> list[_Frame]:
    """The fragments of each frame, `count` of them or more; fewer where they are not there."""
    if len(fragments) == count:
        return [[fragment] for fragment in fragments]
    by_mark = _grouped(fragments, [fragment.begins_a_frame for fragment in fragments])
    if len(by_mark) >= count:
        return by_mark
    first = fragments[0].begin if fragments else 0
    by_offset = _grouped(fragments, [fragment.begin - first in offsets for fragment in fragments])
    if len(by_offset) == count:
        return by_offset
    if not any(fragment.begins_a_frame for fragment in fragments):
        return [[fragment] for fragment in fragments]
    split = [part for fragment in fragments for part in _split(file, fragment)]
    return _grouped(split, [part.begins_a_frame for part in split])


def _grouped(fragments: list[_Fragment], begins: list[bool]) -> list[_Frame]:
    """Fragments by frame, given of each whether it begins one; the first always does."""
    frames: list[_Frame] = []
    for fragment, begins_frame in zip(fragments, begins, strict=True):
        if begins_frame or not frames:
            frames.append([])
        frames[-1].append(fragment)
    return frames


def _split(file: BoundedFile, fragment: _Fragment) -> list[_Fragment]:
    """The frames in one fragment, as some writers store all of them."""
    data = _bytes_of(file, [fragment])
    begins = [0, *(match.end() for match in _NEXT_FRAME.finditer(data))]
    ends = [*begins[1:], len(data)]
    return [
        _Fragment(fragment.begin + begin, end - begin, data[begin : begin + _MARK_BYTES])
        for begin, end in zip(begins, ends, strict=True)
    ]


def _bytes_of(file: BoundedFile, frame: _Frame) -> bytes:
    pieces = []
    for fragment in frame:
        file.seek(fragment.begin)
        pieces.append(file.read(fragment.length))
    return b"".join(pieces)
