"""Clips whose header has no NumberOfFrames though there are several."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from fan_clips import fan_frames
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.pixels import set_pixel_data
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

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
