"""Palettes in the forms that occur, each with the colours that it was made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from fan_clips import fan_frames
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from bsou_dist.sources.raw_clip import UnreadableClip
from bsou_dist.sources.read_clip import read_clip

FRAMES = fan_frames()  # (12, 96, 112)
LEVELS = np.stack(  # an unsmooth red, so that entries that change places show
    [np.arange(256) * 7 % 256, np.arange(256), 255 - np.arange(256)], axis=-1
).astype(np.uint8)


def packed(levels: np.ndarray, form: str, is_big_endian: bool) -> bytes:
    """A table as writers write it: OW, which a big-endian file holds in swapped words."""
    word = ">u2" if is_big_endian else "<u2"
    if form == "bytes":
        padded = np.append(levels, np.zeros(len(levels) % 2, np.uint8))
        return padded.astype(np.uint8).view("<u2").astype(word).tobytes()
    words = {
        "words": levels.astype(np.uint16) * 257,
        "words that hold levels": levels.astype(np.uint16),
        "high bytes": levels.astype(np.uint16) << 8,
    }
    return words[form].astype(word).tobytes()


def write(
    dicom: Path, form: str, *, bits: int, is_big_endian: bool, first: int = 0, count: int = 256
) -> Path:
    dataset = pydicom.dcmread(dicom)
    dataset.PhotometricInterpretation = "PALETTE COLOR"
    for column, colour in enumerate(("Red", "Green", "Blue")):
        name = f"{colour}PaletteColorLookupTable"
        dataset.add_new(f"{name}Descriptor", "US", [count, first, bits])
        table = packed(LEVELS[:count, column], form, is_big_endian)
        dataset.add_new(f"{name}Data", "OW", table)
    syntax = ExplicitVRBigEndian if is_big_endian else ExplicitVRLittleEndian
    dataset.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(dicom, dataset, implicit_vr=False, little_endian=not is_big_endian)
    return dicom


@pytest.mark.parametrize("is_big_endian", [False, True])
@pytest.mark.parametrize(
    ("form", "bits"),
    [
        ("bytes", 8),
        ("words", 16),
        ("words that hold levels", 8),
        ("words that hold levels", 16),
        ("high bytes", 8),
        ("high bytes", 16),
    ],
)
def test_palettes(dicom: Path, form: str, bits: int, is_big_endian: bool) -> None:
    write(dicom, form, bits=bits, is_big_endian=is_big_endian)
    np.testing.assert_array_equal(read_clip(dicom).frames, LEVELS[FRAMES])


@pytest.mark.parametrize("is_big_endian", [False, True])
def test_an_odd_number_of_bytes_is_padded(dicom: Path, is_big_endian: bool) -> None:
    write(dicom, "bytes", bits=8, is_big_endian=is_big_endian, first=20, count=201)
    places = np.clip(FRAMES.astype(int) - 20, 0, 200)
    np.testing.assert_array_equal(read_clip(dicom).frames, LEVELS[places])


@pytest.mark.parametrize("form", ["bytes", "words"])
def test_a_palette_that_is_too_short_is_refused(dicom: Path, form: str) -> None:
    write(dicom, form, bits=8, is_big_endian=False)
    dataset = pydicom.dcmread(dicom)
    dataset.BluePaletteColorLookupTableData = dataset.BluePaletteColorLookupTableData[:200]
    dataset.save_as(dicom)
    with pytest.raises(UnreadableClip, match="fewer entries"):
        read_clip(dicom)


def test_a_palette_that_is_not_there_is_refused(dicom: Path) -> None:
    dataset = pydicom.dcmread(dicom)
    dataset.PhotometricInterpretation = "PALETTE COLOR"
    dataset.save_as(dicom)
    with pytest.raises(UnreadableClip, match="palette that its header lacks"):
        read_clip(dicom)
