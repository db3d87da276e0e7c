"""Uncompressed YBR_FULL_422, in which two pixels share their chroma (PS3.3 C.7.6.3.1.2).

pydicom 3.0.2 reads one frame of it and refuses several.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import convert_color_space
from pydicom.uid import DeflatedExplicitVRLittleEndian

from bsou_dist.sources.bounded_file import BoundedFile
from bsou_dist.sources.dicom_frames import PixelDataPlace, pixel_data_place
from bsou_dist.sources.raw_clip import UnreadableClip

_VALUES_OF_TWO_PIXELS = 4  # two of luma, one of each chroma


def is_subsampled(header: Dataset) -> bool:
    """Whether the header of an uncompressed file says that pixels share their chroma."""
    is_422 = header.get("PhotometricInterpretation") == "YBR_FULL_422"
    return is_422 and header.get("BitsAllocated", 8) == 8


def read_subsampled(path: Path, header: Dataset, indices: Sequence[int]) -> NDArray[np.uint8]:
    """Read frames, RGB (F, H, W, 3).

    A file with three values for each pixel holds YBR_FULL, whatever its header says.

    Raises:
        UnreadableClip: fewer bytes than the header claims, or pixels that are no pairs.
    """
    with BoundedFile(path) as file:
        if _is_deflated(header):
            data = pydicom.dcmread(file, force=True).PixelData
            return _read(io.BytesIO(data), PixelDataPlace(0, len(data), "OB"), header, indices)
        return _read(file, pixel_data_place(file), header, indices)


def _is_deflated(header: Dataset) -> bool:
    file_meta = getattr(header, "file_meta", None)
    syntax = None if file_meta is None else file_meta.get("TransferSyntaxUID")
    return syntax == DeflatedExplicitVRLittleEndian


def _read(
    file: IO[bytes], place: PixelDataPlace, header: Dataset, indices: Sequence[int]
) -> NDArray[np.uint8]:
    height, width = int(header.Rows), int(header.Columns)
    is_whole = place.length >= 3 * height * width * int(header.NumberOfFrames)
    if width % 2 and not is_whole:
        raise UnreadableClip("pixels that share their chroma, and an odd number of them in a row")
    frame_bytes = (3 if is_whole else 2) * height * width
    is_in_big_endian_words = not header.original_encoding[1] and place.value_representation == "OW"
    frames = np.empty((len(indices), height, width, 3), np.uint8)
    for frame, index in zip(frames, indices, strict=True):
        file.seek(place.begin + index * frame_bytes)
        data = np.frombuffer(file.read(frame_bytes), np.uint8)
        if len(data) < frame_bytes:
            raise UnreadableClip("incomplete or damaged: its pixel data ends too early")
        if is_in_big_endian_words:
            data = data.view(">u2").astype("<u2").view(np.uint8)
        frame[...] = data.reshape(frame.shape) if is_whole else _expanded(data, height, width)
    return convert_color_space(frames, "YBR_FULL", "RGB")


def _expanded(data: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Pairs of pixels, each with its own luma and their common chroma, as pixels (H, W, 3)."""
    pairs = data.reshape(height, width // 2, _VALUES_OF_TWO_PIXELS)
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:, ::2, 0] = pairs[..., 0]
    pixels[:, 1::2, 0] = pairs[..., 1]
    pixels[..., 1] = np.repeat(pairs[..., 2], 2, axis=1)
    pixels[..., 2] = np.repeat(pairs[..., 3], 2, axis=1)
    return pixels
