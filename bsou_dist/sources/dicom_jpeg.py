"""Eight-bit JPEG in DICOM, which most clinical clips are, decoded by libjpeg alone.

pydicom, which reads everything else and is the reference, turns YCbCr to RGB itself and takes ten
times as long. libjpeg can also shrink a picture while it decodes, for nothing, since it works on
blocks of frequencies.

Whether three components are RGB or YCbCr is told by the JPEG first, since a header is rewritten
more easily than a picture, and archives do so.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from pydicom.dataset import Dataset
from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit

Colours = Literal["RGB", "YCbCr"]
"""What three components of a JPEG are."""

_ADOBE_TRANSFORMS: dict[int, Colours] = {0: "RGB", 1: "YCbCr"}
_LETTERS_OF_RGB = (b"RGB", b"rgb")
_NUMBERS_OF_YCBCR = [1, 2, 3]  # by JFIF, and taken for it without the mark by libjpeg
_NEUTRAL_CHROMA = 128
_GREY_TOLERANCE = 16  # levels; a grey pixel's components differ by so much after compression
_CLEAR_MAJORITY = 0.2  # of all pixels


class JpegFrames(NamedTuple):
    """Pixels, grey (F, h, w) or RGB (F, h, w, 3), and whether the header names them wrongly."""

    pixels: NDArray[np.uint8]
    is_mislabelled: bool


def decoded_jpegs(frames: Sequence[bytes], header: Dataset, shrink: int) -> JpegFrames | None:
    """Decode frames.

    Args:
        frames: a JPEG each.
        header: that of their file.
        shrink: 1 or 2; h and w are the header's divided by it and rounded up.

    Returns:
        None where the header does not promise 8-bit grey or coloured pictures in JPEG, or a frame
        does not keep the promise: pydicom then decodes or says what is wrong.
    """
    components = _promised_components(header)
    if components is None or not frames:
        return None
    size = (int(header.Columns), int(header.Rows))
    try:
        if components == 1:
            pixels = [_decoded(data, size, shrink, "L", "") for data in frames]
            return JpegFrames(np.stack(pixels), is_mislabelled=False)
        is_named_rgb = header.PhotometricInterpretation == "RGB"
        named: Colours = "RGB" if is_named_rgb else "YCbCr"
        by_look = None
        pixels = []
        are_mislabelled = []
        for data in frames:
            stored = _stored_colours(data)
            if stored is None:
                by_look = by_look or _colours_by_look(data, size) or named
                stored = by_look
            pixels.append(_decoded(data, size, shrink, "RGB", stored))
            are_mislabelled.append(stored != named)
        return JpegFrames(np.stack(pixels), any(are_mislabelled))
    except (ValueError, OSError):
        return None


def _promised_components(header: Dataset) -> Literal[1, 3] | None:
    """Components of the 8-bit JPEG pictures that the header promises, or None if it does not."""
    file_meta = getattr(header, "file_meta", None)
    syntax = None if file_meta is None else file_meta.get("TransferSyntaxUID")
    if syntax not in (JPEGBaseline8Bit, JPEGExtended12Bit) or header.get("BitsStored", 8) != 8:
        return None
    samples = header.get("SamplesPerPixel")
    photometric = header.get("PhotometricInterpretation")
    if samples == 3 and photometric in ("RGB", "YBR_FULL", "YBR_FULL_422"):
        return 3
    is_grey = samples == 1 and photometric in ("MONOCHROME1", "MONOCHROME2")
    is_unsigned_8_bit = header.get("BitsStored") == 8 and header.get("PixelRepresentation") == 0
    return 1 if is_grey and is_unsigned_8_bit else None


def _stored_colours(data: bytes) -> Colours | None:
    """What the components of a coloured JPEG are by all that it says; None where it does not."""
    with _opened(data) as picture:
        layers = picture.layer
        samplings = {layer[1:3] for layer in layers}
        if len(samplings) > 1:  # no encoder stores green and blue at half the width of red
            return "YCbCr"
        if bytes(layer[0] for layer in layers) in _LETTERS_OF_RGB:
            return "RGB"
        if "adobe_transform" in picture.info:
            return _ADOBE_TRANSFORMS.get(picture.info["adobe_transform"])
        return "YCbCr" if "jfif" in picture.info else None


def _colours_by_look(data: bytes, size: tuple[int, int]) -> Colours | None:
    """What the components are by how they look, since most of an ultrasound picture is grey.

    In RGB the three are equal there; in YCbCr two of them are neutral.
    """
    first, second, third = np.moveaxis(_decoded(data, size, 1, "RGB", "RGB").astype(int), -1, 0)

    is_grey_rgb = _are_near(first, second) & _are_near(first, third)
    is_grey_ycbcr = _are_near(second, _NEUTRAL_CHROMA) & _are_near(third, _NEUTRAL_CHROMA)
    grey_as_rgb, grey_as_ycbcr = is_grey_rgb.mean(), is_grey_ycbcr.mean()
    if abs(grey_as_rgb - grey_as_ycbcr) >= _CLEAR_MAJORITY:
        return "RGB" if grey_as_rgb > grey_as_ycbcr else "YCbCr"
    with _opened(data) as picture:
        identifiers = [layer[0] for layer in picture.layer]
    return "YCbCr" if identifiers == _NUMBERS_OF_YCBCR else None


def _are_near(one: NDArray[np.int_], other: NDArray[np.int_] | int) -> NDArray[np.bool_]:
    return np.abs(one - other) <= _GREY_TOLERANCE


def _opened(data: bytes) -> JpegImageFile:
    picture = Image.open(io.BytesIO(data), formats=["JPEG"])
    assert isinstance(picture, JpegImageFile)
    return picture


def _decoded(
    data: bytes, size: tuple[int, int], shrink: int, mode: Literal["L", "RGB"], stored: str
) -> NDArray[np.uint8]:
    """One picture; ValueError where it is another than promised, OSError where it is damaged.

    `stored` is what its components are: 'YCbCr' are turned to RGB, others are left as they are.
    """
    with _opened(data) as picture:
        if picture.mode != mode or picture.size != size:
            raise ValueError("another picture than the header promises")
        picture.draft(mode, (size[0] // shrink, size[1] // shrink))
        # The second argument of Pillow's JPEG decoder overrules what the file's marks say.
        picture.tile = [tile._replace(args=(mode, stored)) for tile in picture.tile]
        return np.asarray(picture)
