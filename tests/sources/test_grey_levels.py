"""The same picture has the same levels, whatever its numbers and its file; a dim one stays dim."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from fan_clips import fan_frames
from pydicom.pixels import set_pixel_data

from bsou_dist.sources.grey_levels import to_frames, to_levels
from bsou_dist.sources.raw_clip import UnreadableClip
from bsou_dist.sources.read_clip import read_clip

DIM = fan_frames() // 4  # no pixel above 63


@pytest.mark.parametrize(
    ("dtype", "full_scale"),
    [
        ("u1", 255),
        ("u2", 255),
        ("u2", 4095),
        ("u2", 65535),
        ("i2", 4095),
        ("i4", 255),
        ("i8", 65535),
        ("f4", 1),
        ("f4", 255),
        ("f8", 65535),
    ],
)
def test_a_dim_clip_stays_as_dim(dtype: str, full_scale: int) -> None:
    exact = DIM * (full_scale / 255)
    values = (np.rint(exact) if dtype[0] != "f" else exact).astype(dtype)
    np.testing.assert_array_equal(to_levels(values), DIM)


def test_every_container_gives_the_same_bytes(tmp_path: Path, dicom: Path) -> None:
    deep = DIM.astype(np.uint16) * 257
    np.savez(tmp_path / "a.npz", frames=deep)
    sitk.WriteImage(sitk.GetImageFromArray(deep), str(tmp_path / "a.mha"))
    sitk.WriteImage(sitk.GetImageFromArray(deep), str(tmp_path / "a.nrrd"), True)
    for bits, factor in ((16, 257), (12, 4095 / 255)):
        dataset = pydicom.dcmread(dicom)
        values = np.rint(DIM.astype(float) * factor).astype(np.uint16)
        set_pixel_data(dataset, values, "MONOCHROME2", bits)
        dataset.save_as(tmp_path / f"{bits}.dcm")
    for name in ("a.npz", "a.mha", "a.nrrd", "16.dcm", "12.dcm"):
        np.testing.assert_array_equal(read_clip(tmp_path / name).frames, DIM, err_msg=name)


@pytest.mark.parametrize("slope", [1.0, 0.5])
@pytest.mark.parametrize("is_signed", [False, True])
def test_dicom_grey_fills_the_bits_it_stores(dicom: Path, slope: float, is_signed: bool) -> None:
    dataset = pydicom.dcmread(dicom)
    values = DIM.astype(np.int32) * 16 - 2048 * is_signed
    dtype = np.int16 if is_signed else np.uint16
    set_pixel_data(dataset, values.astype(dtype), "MONOCHROME2", 12)
    dataset.RescaleSlope, dataset.RescaleIntercept = slope, -100.0
    dataset.save_as(dicom)
    np.testing.assert_array_equal(read_clip(dicom).frames, np.rint(DIM * (16 * 255 / 4095)))


def test_an_8_bit_window_is_followed(dicom: Path) -> None:
    dataset = pydicom.dcmread(dicom)
    set_pixel_data(dataset, DIM, "MONOCHROME2", 8)
    dataset.WindowCenter, dataset.WindowWidth = 32, 64
    dataset.save_as(dicom)
    frames = read_clip(dicom).frames
    np.testing.assert_allclose(frames, DIM * (255 / 63), atol=1)


def test_a_negative_slope_turns_dark_into_bright(dicom: Path) -> None:
    dataset = pydicom.dcmread(dicom)
    set_pixel_data(dataset, DIM.astype(np.uint16) * 257, "MONOCHROME2", 16)
    dataset.RescaleSlope, dataset.RescaleIntercept = -1, 65535
    dataset.save_as(dicom)
    np.testing.assert_array_equal(read_clip(dicom).frames, 255 - DIM)


def test_resampled_fractions_may_overshoot() -> None:
    np.testing.assert_array_equal(to_levels(np.array([-0.005, 0.5, 1.005])), [0, 128, 255])


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([0.0, np.nan], "NaN"),
        ([0.0, np.inf], "NaN or infinity"),
        ([-60.0, 0.0], "negative"),
        ([-1, 200], "negative"),
        ([0, 70000], "brighter than 16 bits"),
        ([1j, 0], "not real numbers"),
    ],
)
def test_what_is_no_brightness_is_refused(values: list[complex], reason: str) -> None:
    with pytest.raises(UnreadableClip, match=reason):
        to_levels(np.array(values))


def test_opacity_has_a_scale_of_its_own() -> None:
    half_seen = np.stack([np.full((1, 2, 2), 0.2), np.full((1, 2, 2), 0.5)], axis=-1)
    assert np.unique(to_frames(half_seen)).tolist() == [26]
