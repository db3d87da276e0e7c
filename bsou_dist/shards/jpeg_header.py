"""The header of a JPEG picture: how large it claims to be, before a decoder believes it.

Strict on purpose. Decoders pass over what they do not know and might find another size than a
lenient reader; a header that is read here without a doubt says the same to each of them.
"""

from __future__ import annotations

from dataclasses import dataclass

_START_OF_IMAGE = b"\xff\xd8"
_START_OF_SCAN = 0xDA
_FIRST_SEGMENT = 0xC0  # lower markers, and those from 0xD0 to 0xD9, have no length
_WITHOUT_LENGTH = range(0xD0, 0xDA)
_NO_FRAME = (0xC4, 0xC8, 0xCC)  # Huffman tables, a reserved one and arithmetic coding
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - frozenset(_NO_FRAME)


@dataclass(frozen=True)
class JpegHeader:
    """What stands in front of a picture's first scan."""

    shape: tuple[int, int]
    """Height and width in pixels."""

    bytes: int
    """Size of the header, with the marker of the scan."""


def read_jpeg_header(data: bytes | memoryview) -> JpegHeader:
    """Read a header segment by segment.

    Raises:
        ValueError: it is none, ends too early, or states its size never or twice.
    """
    if data[: len(_START_OF_IMAGE)] != _START_OF_IMAGE:
        raise ValueError("no JPEG picture")
    shape: tuple[int, int] | None = None
    place = len(_START_OF_IMAGE)
    while place + 4 <= len(data):
        mark, kind = data[place], data[place + 1]
        if mark != 0xFF or kind < _FIRST_SEGMENT or kind in _WITHOUT_LENGTH or kind == 0xFF:
            break
        if kind == _START_OF_SCAN:
            if shape is None:
                break
            return JpegHeader(shape, place + 2)
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        if kind in _START_OF_FRAME:
            size = data[place + 5 : place + 9]
            if shape is not None or len(size) < 4:
                break
            shape = int.from_bytes(size[:2], "big"), int.from_bytes(size[2:], "big")
        if length < 2:
            break
        place += 2 + length
    raise ValueError("no whole JPEG header")
