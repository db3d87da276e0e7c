"""Palettes in DICOM: stored numbers to colours (PS3.3 C.7.6.3.1.5 and 6).

pydicom 3.0.2 reads tables of big-endian files as little-endian ones (its issue 2147), and makes
black pictures of entries of 8 bits that are padded to words.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut

from bsou_dist.sources.raw_clip import UnreadableClip

_COLOURS = ("Red", "Green", "Blue")
_MOST_ENTRIES = 1 << 16  # written as 0, since a word cannot hold it
_BRIGHTEST = 255


def coloured_by_palette(pixels: NDArray[np.generic], header: Dataset) -> NDArray[np.uint8]:
    """RGB (..., 3) of the palette that a header holds.

    Raises:
        UnreadableClip: it holds none, or one with fewer entries than it says.
    """
    if "RedPaletteColorLookupTableDescriptor" not in header:
        raise UnreadableClip("its colours are those of a palette that its header lacks")
    count, first, entry_bits = header.RedPaletteColorLookupTableDescriptor
    count = int(count) % _MOST_ENTRIES or _MOST_ENTRIES
    if "RedPaletteColorLookupTableData" not in header:
        colours = apply_color_lut(pixels, header)  # in segments, which it reads in either order
        return _levels(colours, 8 * colours.dtype.itemsize)
    tables = [_entries(header, colour, count) for colour in _COLOURS]
    palette = _levels(np.stack(tables, axis=-1), int(entry_bits))
    places = np.clip(pixels.astype(np.int64) - int(first), 0, count - 1)
    return palette[places]


def _entries(header: Dataset, colour: str, count: int) -> NDArray[np.unsignedinteger]:
    """The entries of a table, one or two bytes each."""
    element = header.get_item(f"{colour}PaletteColorLookupTableData")
    data = b"" if element is None else header[element.tag].value
    if not isinstance(data, bytes):  # of VR US, whose words are numbers already
        words = np.atleast_1d(np.asarray(data, np.uint16))
        if len(words) >= count:
            return words[:count]
        data = words.astype("<u2").tobytes()
    elif not header.original_encoding[1]:  # words of a big-endian file
        whole_words = data[: len(data) // 2 * 2]
        data = np.frombuffer(whole_words, ">u2").astype("<u2").tobytes()
    is_in_words = len(data) >= 2 * count
    entries = np.frombuffer(data[: len(data) // 2 * 2], "<u2" if is_in_words else "u1")
    if len(entries) < count:
        raise UnreadableClip("its palette has fewer entries than its header says")
    return entries[:count]


def _levels(entries: NDArray[np.unsignedinteger], entry_bits: int) -> NDArray[np.uint8]:
    """Entries in 8 bits.

    Entries of 16 bits of which none exceeds 255 are levels, however many bits the header states:
    they would be black otherwise.
    """
    highest = int(entries.max())
    if highest <= _BRIGHTEST:
        return entries.astype(np.uint8)
    bits = entry_bits if 8 < entry_bits <= 16 else 16
    if highest >> (bits - 8) > _BRIGHTEST:
        bits = 16
    return (entries >> np.array(bits - 8, entries.dtype)).astype(np.uint8)
