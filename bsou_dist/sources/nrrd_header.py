"""Headers of NRRD files, with their pixels or with a file of pixels beside them.

Format: https://teem.sourceforge.net/nrrd/format.html.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from bsou_dist.sources.orientation import (
    AS_STORED,
    Orientation,
    direction_notes,
    stated_orientation,
)
from bsou_dist.sources.raw_clip import UnreadableClip
from bsou_dist.sources.stack_header import (
    MM_PER_UNIT,
    Encoding,
    StackHeader,
    axes_in_memory,
    axis_places,
    file_beside,
    header_lines,
    known_spacings,
    whole_numbers,
)
from bsou_dist.sources.stated_spacing import StatedSpacing

_ENCODINGS: dict[str, Encoding] = {
    "raw": "raw",
    "gz": "deflate",
    "gzip": "deflate",
    "bz2": "bzip2",
    "bzip2": "bzip2",
    "txt": "text",
    "text": "text",
    "ascii": "text",
}
_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_BYTE_ORDERS = {"little": "<", "big": ">"}
_DIRECTION = re.compile(r"\([^()]*\)|none")


def read_nrrd_header(path: Path) -> StackHeader:
    """Read the header of an NRRD or NHDR file.

    Raises:
        UnreadableClip: it is none, or not that of a stack of frames, or names pixels elsewhere.
    """
    fields, end = _fields(path)
    encoding = _ENCODINGS.get(fields.get("encoding", "").lower())
    if encoding is None:
        raise UnreadableClip("an NRRD whose encoding is none of raw, gzip, bzip2 and text")
    lengths = whole_numbers(fields.get("sizes", ""))
    if whole_numbers(fields.get("dimension", "")) != [len(lengths)]:
        raise UnreadableClip("an NRRD whose header does not say how large it is")
    places = axis_places(lengths, fields.get("kinds", "").split())
    data_file = fields.get("data file", fields.get("datafile"))
    pixel_file = path if data_file is None else file_beside(path, data_file)
    return StackHeader(
        axes=axes_in_memory(places, lengths),
        dtype=_dtype(fields),
        encoding=encoding,
        pixel_file=pixel_file,
        offset=_offset(fields, pixel_file, end if data_file is None else 0, encoding),
        spacings=_spacings(fields, places["column"], places["row"]),
        orientation=_orientation(fields),
        notes=direction_notes(
            "space directions", _directions(fields), places["column"], places["row"]
        ),
    )


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """The header's fields and key/value pairs, by name, and where the header ends in the file."""
    fields: dict[str, str] = {}
    for line, end in header_lines(path):
        if not line:
            return fields, end
        name, _, value = line.partition(":")
        if not line.startswith("#"):
            fields.setdefault(name.strip().lower(), value.removeprefix("=").strip())
    return fields, path.stat().st_size  # a header alone may end without an empty line


def _orientation(fields: dict[str, str]) -> Orientation:
    """PLUS writes the name with spaces, other writers as in a MetaImage."""
    for name in ("ultrasound image orientation", "ultrasoundimageorientation"):
        if name in fields:
            return stated_orientation(fields[name])
    return AS_STORED


def _dtype(fields: dict[str, str]) -> np.dtype:
    type_name = fields.get("type", "").lower()
    for code, names in _TYPES.items():
        if type_name in names:
            byte_order = _BYTE_ORDERS.get(fields.get("endian", "").lower())
            if byte_order is None and not code.endswith("1"):
                raise UnreadableClip("an NRRD that does not say the order of its numbers' bytes")
            return np.dtype((byte_order or "") + code)
    raise UnreadableClip("an NRRD whose pixels are not numbers of a type that its format has")


def _offset(fields: dict[str, str], pixel_file: Path, begin: int, encoding: Encoding) -> int | None:
    """Where the pixels begin; None for 'the last bytes of the file'."""
    [lines] = whole_numbers(fields.get("line skip", fields.get("lineskip", "0")))
    [skipped_bytes] = whole_numbers(fields.get("byte skip", fields.get("byteskip", "0")))
    if skipped_bytes and encoding != "raw":
        raise UnreadableClip("an NRRD that skips bytes of packed pixels")
    if skipped_bytes < 0:
        return None
    with pixel_file.open("rb") as file:
        file.seek(begin)
        for _ in range(lines):
            if not file.readline():
                break
        return file.tell() + skipped_bytes


def _spacings(fields: dict[str, str], column: int, row: int) -> tuple[StatedSpacing, ...]:
    """What the header says of the distances along the axes of columns and of rows."""
    return known_spacings(
        [
            ("space directions", _vector_mm(fields, column), _vector_mm(fields, row)),
            ("spacings", _step_mm(fields, column), _step_mm(fields, row)),
        ]
    )


def _directions(fields: dict[str, str]) -> list[list[str]]:
    """The vector of each axis, in the units of the space; one of a single word for 'none'."""
    vectors = _DIRECTION.findall(fields.get("space directions", ""))
    return [vector.strip("()").split(",") for vector in vectors]


def _vector_mm(fields: dict[str, str], place: int) -> float | None:
    """Length of an axis's vector in mm, or None where it is not known."""
    directions = _directions(fields)
    try:
        steps = [float(word) for word in directions[place]]
    except (IndexError, ValueError):  # 'none' among them
        return None
    return _in_mm(math.hypot(*steps), _quoted(fields.get("space units", "")))


def _step_mm(fields: dict[str, str], place: int) -> float | None:
    """The spacing of an axis in mm, or None where it is not known."""
    spacings = fields.get("spacings", "").split()
    try:
        step = float(spacings[place])
    except (IndexError, ValueError):
        return None
    return _in_mm(step, _quoted(fields.get("units", ""))[place : place + 1])


def _in_mm(step: float, units: list[str]) -> float | None:
    """A step in mm; None where its unit is unknown, or none of one kind. No unit means mm."""
    if not units:
        return step
    mm_per_unit = MM_PER_UNIT.get(units[0].lower())
    if mm_per_unit is None or len(set(units)) > 1:
        return None
    return step * mm_per_unit


def _quoted(text: str) -> list[str]:
    """The words of a value, each in quotation marks or not."""
    return [word.strip('"') for word in text.split()]
