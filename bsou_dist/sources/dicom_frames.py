"""How many frames a DICOM file holds that does not say so."""

from __future__ import annotations

import struct
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.encaps import generate_fragments
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, RLELossless

from bsou_dist.sources.bounded_file import BoundedFile

_UNDEFINED_LENGTH = 0xFFFFFFFF  # of encapsulated pixel data
_FRAME_MARKS = (b"\xff\xd8", b"\xff\x4f\xff\x51")  # of JPEG and JPEG-LS, and of JPEG 2000


def counted_frames(path: Path, header: Dataset, syntax: UID | None) -> int:
    """Frames of a file whose header has no NumberOfFrames; 1 where they cannot be told apart.

    Uncompressed ones are counted by their size. A fragment of run lengths is a frame (PS3.5 A.4.2);
    others begin with a mark, and a fragment without it goes on with the frame before it.
    """
    if syntax == DeflatedExplicitVRLittleEndian:
        return 1
    with BoundedFile(path) as file:
        pydicom.dcmread(file, stop_before_pixels=True, force=True)
        length = _pixel_data_length(file, header)
        if length == _UNDEFINED_LENGTH:
            _, *fragments = generate_fragments(file)  # the first is the offset table
            if syntax == RLELossless:
                return max(1, len(fragments))
            return max(1, sum(fragment.startswith(_FRAME_MARKS) for fragment in fragments))
    frame_bytes = stored_frame_bytes(header)
    return max(1, int(length // frame_bytes)) if frame_bytes > 0 else 1


def stored_frame_bytes(header: Dataset) -> float:
    """Size of an uncompressed frame at rest."""
    # Of 4:2:2, two values a pixel are stored: two pixels share their chroma.
    is_422 = header.get("PhotometricInterpretation") == "YBR_FULL_422"
    samples = 2 if is_422 else int(header.get("SamplesPerPixel", 1))
    bits = samples * int(header.get("BitsAllocated", 8))
    return int(header.Rows) * int(header.Columns) * bits / 8


def _pixel_data_length(file: BoundedFile, header: Dataset) -> int:
    """The length that the pixel data's element states, before which `file` stands; then behind."""
    is_implicit, is_little_endian = header.original_encoding
    head = file.read(8 if is_implicit else 12)
    if len(head) < 8:
        return 0
    (length,) = struct.unpack("<I" if is_little_endian else ">I", head[-4:])
    return int(length)
