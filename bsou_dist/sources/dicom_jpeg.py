"""Eight-bit JPEG in DICOM, which most clinical clips are, decoded by libjpeg alone.

pydicom, which reads everything else and is the reference, turns YCbCr to RGB itself and takes ten
times as long. libjpeg can also shrink a picture while it decodes, for nothing, since it works on
blocks of frequencies.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Literal

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import JPEGBaseline8Bit

from bsou_dist.sources.bounded_file import BoundedFile

_PIXEL_DATA_HEAD_BYTES = 12  # tag, VR and length, before what is encapsulated
_RGB_COMPONENTS = [ord(letter) for letter in "RGB"]

Mode = Literal["L", "RGB"]
"""Pillow's names for grey and for colour."""


def read_jpeg_frames(
    path: Path, header: Dataset, indices: list[int], shrink: int
) -> NDArray[np.uint8] | None:
    """Decode the frames wanted, grey (F, h, w) or RGB (F, h, w, 3).

    Args:
        path: the file.
        header: its header.
        indices: frame numbers.
        shrink: 1 or 2; h and w are the header's divided by it and rounded up.

    Returns:
        None where the header does not promise 8-bit grey or YCbCr pictures in baseline JPEG, or the
        file does not keep the promise: pydicom then decodes or says what is wrong.
    """
    mode = _promised_mode(header)
    if mode is None:
        return None
    size = (int(header.Columns), int(header.Rows))
    wanted = set(indices)
    frames = []
    with BoundedFile(path) as file:
        pydicom.dcmread(file, stop_before_pixels=True, force=True)
        file.seek(_PIXEL_DATA_HEAD_BYTES, io.SEEK_CUR)
        try:
            count = int(header.get("NumberOfFrames") or 1)
            for index, data in enumerate(generate_frames(file, number_of_frames=count)):
                if index in wanted:
                    frames.append(_decode(data, mode, size, shrink))
        except (ValueError, OSError):
            return None
    return np.stack(frames) if len(frames) == len(indices) else None


def _promised_mode(header: Dataset) -> Mode | None:
    """Mode of the pictures that the header promises, or None if not 8-bit grey or YCbCr in JPEG."""
    file_meta = getattr(header, "file_meta", None)
    if file_meta is None or file_meta.get("TransferSyntaxUID") != JPEGBaseline8Bit:
        return None
    samples = header.get("SamplesPerPixel")
    photometric = header.get("PhotometricInterpretation")
    if samples == 3 and photometric in ("YBR_FULL", "YBR_FULL_422"):
        return "RGB"
    is_grey = samples == 1 and photometric in ("MONOCHROME1", "MONOCHROME2")
    is_unsigned_8_bit = header.get("BitsStored") == 8 and header.get("PixelRepresentation") == 0
    return "L" if is_grey and is_unsigned_8_bit else None


def _decode(data: bytes, mode: Mode, size: tuple[int, int], shrink: int) -> NDArray[np.uint8]:
    """One picture; ValueError where it is another than promised, OSError where it is damaged."""
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as picture:
        components = [component[0] for component in picture.layer]  # type: ignore[attr-defined]
        # Either says that no YCbCr was stored, whatever the header promises.
        has_no_transform = picture.info.get("adobe_transform", 1) != 1
        is_stored_as_rgb = has_no_transform or components == _RGB_COMPONENTS
        is_as_promised = picture.mode == mode and picture.size == size
        if not is_as_promised or (mode == "RGB" and is_stored_as_rgb):
            raise ValueError("another picture than the header promises")
        picture.draft(mode, (size[0] // shrink, size[1] // shrink))
        return np.asarray(picture)
