"""A stack of grey frames as a MetaImage, with the header that ACOUSLIC-AI's files have."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_FASTEST = 1  # of zlib's levels


def write_meta_image(
    path: Path, frames: NDArray[np.uint8], mm_per_px: float, *, compressed: bool = False
) -> None:
    """Write frames (F, H, W) to an MHA file; the spacing stands for frames too, and means nothing.

    Args:
        path: the file.
        frames: grey levels.
        mm_per_px: width and height of a pixel.
        compressed: whether the pixels are deflated.
    """
    count, height, width = frames.shape
    pixels = frames.tobytes()
    packed = zlib.compress(pixels, _FASTEST) if compressed else pixels
    fields = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": str(compressed),
        **({"CompressedDataSize": str(len(packed))} if compressed else {}),
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "0 0 0",
        "CenterOfRotation": "0 0 0",
        "AnatomicalOrientation": "RAI",
        "ElementSpacing": " ".join([repr(mm_per_px)] * 3),
        "DimSize": f"{width} {height} {count}",
        "ElementType": "MET_UCHAR",
        "ElementDataFile": "LOCAL",
    }
    header = "".join(f"{key} = {value}\n" for key, value in fields.items())
    path.write_bytes(header.encode() + packed)
