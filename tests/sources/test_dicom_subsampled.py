"""Uncompressed YBR_FULL_422, whose pixels share their chroma in pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.pixels import convert_color_space
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from bsou_dist.sources.raw_clip import UnreadableClip
from bsou_dist.sources.read_clip import read_clip

COUNT, HEIGHT, WIDTH = 5, 8, 10
PAIRS = np.random.default_rng(0).integers(0, 256, (COUNT, HEIGHT, WIDTH // 2, 4), dtype=np.uint8)


def ybr_of_pairs() -> np.ndarray:
    """Luma of each pixel, then the chroma of its pair, by the standard's words."""
    pixels = np.empty((COUNT, HEIGHT, WIDTH, 3), np.uint8)
    for place in np.ndindex(COUNT, HEIGHT, WIDTH):
        frame, row, column = place
        first_luma, second_luma, blue, red = PAIRS[frame, row, column // 2]
        pixels[place] = (second_luma if column % 2 else first_luma, blue, red)
    return pixels


EXPECTED = convert_color_space(ybr_of_pairs(), "YBR_FULL", "RGB")


def write(
    dicom: Path, data: bytes, syntax: pydicom.uid.UID = ExplicitVRLittleEndian, **changes: object
) -> Path:
    dataset = pydicom.dcmread(dicom)
    dataset.SequenceOfUltrasoundRegions = None
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = COUNT, HEIGHT, WIDTH
    dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
    dataset.PhotometricInterpretation = "YBR_FULL_422"
    dataset.add_new("PixelData", "OB", data)
    for name, value in changes.items():
        setattr(dataset, name, value)
    dataset.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(
        dicom, dataset, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian
    )
    return dicom


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    ],
)
def test_several_frames(dicom: Path, syntax: pydicom.uid.UID) -> None:
    clip = read_clip(write(dicom, PAIRS.tobytes(), syntax))
    np.testing.assert_array_equal(clip.frames, EXPECTED)
    np.testing.assert_array_equal(read_clip(dicom, max_frames=3).frames, EXPECTED[[0, 2, 4]])


def test_words_of_a_big_endian_file(dicom: Path) -> None:
    write(dicom, PAIRS.view("<u2").astype(">u2").tobytes(), ExplicitVRBigEndian)
    data = dicom.read_bytes()
    at = data.index(b"\x7f\xe0\x00\x10OB")
    dicom.write_bytes(data[: at + 4] + b"OW" + data[at + 6 :])
    np.testing.assert_array_equal(read_clip(dicom).frames, EXPECTED)


def test_the_header_may_not_say_how_many_frames(dicom: Path) -> None:
    write(dicom, PAIRS.tobytes(), NumberOfFrames=None)
    np.testing.assert_array_equal(read_clip(dicom).frames, EXPECTED)


def test_three_values_for_each_pixel_are_whole_ones(dicom: Path) -> None:
    write(dicom, ybr_of_pairs().tobytes())
    np.testing.assert_array_equal(read_clip(dicom).frames, EXPECTED)


def test_pixels_that_are_no_pairs_are_refused(dicom: Path) -> None:
    with pytest.raises(UnreadableClip, match="odd number"):
        read_clip(write(dicom, PAIRS.tobytes(), Columns=9))


def test_pixels_that_are_not_there_are_refused(dicom: Path) -> None:
    with pytest.raises(UnreadableClip, match="incomplete or damaged"):
        read_clip(write(dicom, PAIRS.tobytes(), NumberOfFrames=COUNT + 1))
    whole = write(dicom, PAIRS.tobytes()).read_bytes()
    dicom.write_bytes(whole[:-10])
    with pytest.raises(UnreadableClip, match="incomplete or damaged"):
        read_clip(dicom)
