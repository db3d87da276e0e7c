"""Clips whose header has no NumberOfFrames though there are several."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from fan_clips import fan_frames
from PIL import Image
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import set_pixel_data
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)
from source_files import as_jpegs, with_fragments

from bsou_dist.sources.dicom_frames import compressed_frames
from bsou_dist.sources.raw_clip import UnreadableClip
from bsou_dist.sources.read_clip import read_clip

FRAMES = fan_frames()  # (12, 96, 112)


def frames_without_count(dicom: Path, dataset: pydicom.Dataset) -> np.ndarray:
    del dataset.NumberOfFrames
    syntax = dataset.file_meta.TransferSyntaxUID
    pydicom.dcmwrite(
        dicom,
        dataset,
        implicit_vr=syntax.is_implicit_VR,
        little_endian=syntax.is_little_endian,
    )
    clip = read_clip(dicom)
    assert clip.source_frames == 12
    return clip.frames


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_uncompressed_frames_are_counted_by_size(dicom: Path, syntax: pydicom.uid.UID) -> None:
    dataset = pydicom.dcmread(dicom)
    set_pixel_data(dataset, FRAMES, "MONOCHROME2", 8)
    dataset.file_meta.TransferSyntaxUID = syntax
    np.testing.assert_array_equal(frames_without_count(dicom, dataset), FRAMES)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_compressed_frames_are_counted_by_their_marks(dicom: Path, syntax: pydicom.uid.UID) -> None:
    dataset = pydicom.dcmread(dicom)
    set_pixel_data(dataset, FRAMES, "MONOCHROME2", 8)
    dataset.compress(syntax)
    np.testing.assert_array_equal(frames_without_count(dicom, dataset), FRAMES)


def test_a_frame_may_be_in_several_fragments(dicom: Path) -> None:
    dataset = pydicom.dcmread(dicom)
    set_pixel_data(dataset, FRAMES, "MONOCHROME2", 8)
    pictures = []
    for frame in FRAMES:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=95)
        pictures.append(buffer.getvalue())
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.PixelData = encapsulate(pictures, fragments_per_frame=2)
    dataset["PixelData"].is_undefined_length = True
    found = frames_without_count(dicom, dataset)
    assert np.abs(found.astype(int) - FRAMES).mean() < 3


def test_one_picture_is_one_frame(dicom: Path) -> None:
    dataset = pydicom.dcmread(dicom)
    set_pixel_data(dataset, FRAMES[0], "MONOCHROME2", 8)
    if "NumberOfFrames" in dataset:
        del dataset.NumberOfFrames
    dataset.save_as(dicom)
    assert read_clip(dicom).frames.shape == (1, 96, 112)


@pytest.mark.parametrize(
    "offsets",
    [
        [],
        [0] * 12,
        list(range(12)),
        [0],
        [0, 9],
        [2**32 - 1] * 12,
        list(range(0, 1200, 100)),
        list(range(30)),
    ],
)
def test_a_wrong_offset_table_is_not_believed(dicom: Path, offsets: list[int]) -> None:
    pictures = as_jpegs(FRAMES)
    expected = np.stack([np.asarray(Image.open(io.BytesIO(picture))) for picture in pictures])
    clip = read_clip(with_fragments(dicom, pictures, offsets))
    np.testing.assert_array_equal(clip.frames, expected)
    halves = [
        part for one in pictures for part in (one[: len(one) // 4 * 2], one[len(one) // 4 * 2 :])
    ]
    clip = read_clip(with_fragments(dicom, halves, offsets), max_frames=4)
    np.testing.assert_array_equal(clip.frames, expected[[0, 4, 7, 11]])


def test_a_wrong_offset_table_of_run_lengths_is_not_believed(dicom: Path) -> None:
    dataset = pydicom.dcmread(dicom)
    dataset.compress(RLELossless)
    fragments = list(generate_frames(dataset.PixelData, number_of_frames=12))
    dataset.save_as(dicom)
    with_fragments(dicom, fragments, [4, 5, 6])
    dataset = pydicom.dcmread(dicom)
    dataset.file_meta.TransferSyntaxUID = RLELossless
    dataset.save_as(dicom)
    np.testing.assert_array_equal(read_clip(dicom).frames, FRAMES)


def test_an_extended_offset_table_is_not_needed(dicom: Path) -> None:
    wrong = {"ExtendedOffsetTable": bytes(8), "ExtendedOffsetTableLengths": bytes(8)}
    pictures = as_jpegs(FRAMES)
    clip = read_clip(with_fragments(dicom, pictures, [], **wrong))
    assert np.abs(clip.frames.astype(int) - FRAMES).mean() < 3


def test_all_frames_may_be_in_one_fragment(dicom: Path) -> None:
    pictures = as_jpegs(FRAMES)
    expected = np.stack([np.asarray(Image.open(io.BytesIO(picture))) for picture in pictures])
    padded = [picture + bytes(len(picture) % 2) for picture in pictures]
    for offsets in ([], [0]):
        clip = read_clip(with_fragments(dicom, [b"".join(padded)], offsets))
        np.testing.assert_array_equal(clip.frames, expected)


def test_an_offset_table_tells_fragments_without_marks(dicom: Path) -> None:
    """Of frames that begin with no known mark, only the table says which fragments are whose."""
    place = dicom.with_name("unmarked")
    place.write_bytes(with_fragments(dicom, [b"ab", b"cd", b"ef"], [0, 20]).read_bytes())
    header = pydicom.dcmread(place, stop_before_pixels=True)
    header.NumberOfFrames = 2
    assert compressed_frames(place, header, [0, 1]) == [b"abcd", b"ef"]


def test_frames_that_are_not_there_are_counted(dicom: Path) -> None:
    pictures = as_jpegs(FRAMES)
    with pytest.raises(UnreadableClip, match="claims 12 frames, and 9 are there"):
        read_clip(with_fragments(dicom, pictures[:9], []))
    whole = with_fragments(dicom, pictures, [], NumberOfFrames=12).read_bytes()
    dicom.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableClip, match=r"claims 12 frames, and [4-7] are there"):
        read_clip(dicom)
