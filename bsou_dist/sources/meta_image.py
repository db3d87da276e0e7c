"""Headers of MetaImage files (MHA with its pixels, MHD with a file of pixels beside it).

Format: https://itk.org/Wiki/ITK/MetaIO/Documentation.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bsou_dist.sources.orientation import direction_notes, stated_orientation
from bsou_dist.sources.raw_clip import UnreadableClip
from bsou_dist.sources.stack_header import (
    MM_PER_UNIT,
    Axis,
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

_DIRECTIONS = ("TransformMatrix", "Rotation", "Orientation")  # three names of one thing
_LAST_KEY = "elementdatafile"
_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}


def read_meta_image_header(path: Path) -> StackHeader:
    """Read the header of an MHA or MHD file.

    Raises:
        UnreadableClip: it is none, or not that of a stack of frames, or names pixels elsewhere.
    """
    fields, end = _fields(path)
    data_file = fields[_LAST_KEY]
    is_local = data_file.upper() == "LOCAL"
    is_compressed = _is_true(fields.get("compresseddata"))
    places = _places(fields)
    return StackHeader(
        axes=axes_in_memory(places, _lengths(fields)),
        dtype=_dtype(fields),
        encoding=_encoding(fields, is_compressed),
        pixel_file=path if is_local else file_beside(path, data_file),
        offset=end if is_local else _skipped_bytes(fields),
        packed_bytes=_packed_bytes(fields) if is_compressed else None,
        spacings=_spacings(fields),
        orientation=stated_orientation(fields.get("ultrasoundimageorientation", "")),
        notes=_direction_notes(fields, places),
    )


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """The header's fields by their keys in small letters, and where it ends in the file."""
    fields = {}
    for line, end in header_lines(path):
        separator = "=" if "=" in line else ":"
        key, _, value = line.partition(separator)
        fields[key.strip().lower()] = value.strip()
        if key.strip().lower() == _LAST_KEY:
            return fields, end
    raise UnreadableClip("a MetaImage whose header does not say where its pixels are")


def _is_true(value: str | None) -> bool:
    return value is not None and value[:1].lower() in ("t", "1")


def _lengths(fields: dict[str, str]) -> list[int]:
    """Lengths of the axes, with the channels' before those of DimSize."""
    lengths = whole_numbers(fields.get("dimsize", ""))
    if whole_numbers(fields.get("ndims", "")) != [len(lengths)]:
        raise UnreadableClip("a MetaImage whose header does not say how large it is")
    return [*whole_numbers(fields.get("elementnumberofchannels", "1")), *lengths]


def _places(fields: dict[str, str]) -> dict[Axis, int]:
    kinds = fields.get("kinds", "").split()
    return axis_places(_lengths(fields), ["vector", *kinds])


def _dtype(fields: dict[str, str]) -> np.dtype:
    type_name = fields.get("elementtype", "").upper().removesuffix("_ARRAY")
    if type_name not in _TYPES:
        raise UnreadableClip("a MetaImage whose pixels are of no type that its format has")
    order = fields.get("binarydatabyteordermsb", fields.get("elementbyteordermsb"))
    return np.dtype((">" if _is_true(order) else "<") + _TYPES[type_name])


def _encoding(fields: dict[str, str], is_compressed: bool) -> Encoding:
    is_text = not _is_true(fields.get("binarydata", "True"))
    if is_compressed:
        return "deflate"
    return "text" if is_text else "raw"


def _skipped_bytes(fields: dict[str, str]) -> int | None:
    """Where the pixels begin in a file beside the header's; None for a header of unknown size."""
    [skipped] = whole_numbers(fields.get("headersize", "0")) or [0]
    return None if skipped < 0 else skipped


def _packed_bytes(fields: dict[str, str]) -> int | None:
    stated = whole_numbers(fields.get("compresseddatasize", ""))
    return stated[0] if stated and stated[0] > 0 else None


def _spacings(fields: dict[str, str]) -> tuple[StatedSpacing, ...]:
    """What the header says of a pixel's size, where its unit is known.

    ElementSize is the extent of what was measured, which MetaIO takes for the spacing where
    ElementSpacing is missing.
    """
    mm_per_unit = MM_PER_UNIT.get(fields.get("distanceunits", "mm").lower())
    if mm_per_unit is None:
        return ()
    pairs = []
    for name in ("ElementSpacing", "ElementSize"):
        try:
            across, down = (float(word) for word in fields.get(name.lower(), "").split()[:2])
        except ValueError:
            continue
        pairs.append((name, across * mm_per_unit, down * mm_per_unit))
    return known_spacings(pairs)


def _direction_notes(fields: dict[str, str], places: dict[Axis, int]) -> tuple[str, ...]:
    """Notes about the direction matrix, which holds a row for each axis of DimSize."""
    name = next((name for name in _DIRECTIONS if name.lower() in fields), None)
    if name is None:
        return ()
    words = fields[name.lower()].split()
    size = len(fields["dimsize"].split())
    rows = [words[start : start + size] for start in range(0, len(words), size)]
    # The channels come before the axes of DimSize.
    column, row = places["column"] - 1, places["row"] - 1
    return direction_notes(name, rows, column, row)
