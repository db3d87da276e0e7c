"""The size that a JPEG picture claims, beside Pillow's."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from bsou_dist.shards.jpeg_header import read_jpeg_header


def jpeg(height: int, width: int, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((height, width), np.uint8)).save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"comment": b"\xff\xda\xff\xc0"}])
def test_size_and_end_of_the_header_are_found(options: dict[str, object]) -> None:
    data = jpeg(40, 56, **options)
    header = read_jpeg_header(data)
    assert header.shape == (40, 56)
    assert data[: header.bytes].endswith(b"\xff\xda")
    assert header.bytes > data.index(b"\xff\xc4")  # the tables stand in front of the scan


def test_a_header_that_leaves_a_doubt_is_refused() -> None:
    data = jpeg(40, 56)
    frame = data[data.index(b"\xff\xc0") : data.index(b"\xff\xc4")]
    scan = data.index(b"\xff\xda")
    for doubtful in (
        b"",
        bytes(100),
        data[:30],
        data[:scan],
        data[:scan] + frame + data[scan:],  # a second size
        data[:2] + b"\0" + data[2:],  # what decoders pass over
        data.replace(frame, b""),
        data[:20] + b"\xff\xc0\0\0",
    ):
        with pytest.raises(ValueError, match="JPEG"):
            read_jpeg_header(doubtful)
