from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from fan_clips import fan_frames, printed
from PIL import Image
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import iter_pixels

from bsou_dist.phantom.files.dicom import Acquisition, Box, write_dicom
from bsou_dist.prepare.prepare_clip import PrepareConfig, prepare
from bsou_dist.sources.dicom_jpeg import read_jpeg_frames
from bsou_dist.sources.raw_clip import Region, UnreadableClip
from bsou_dist.sources.read_clip import read_clip

HEIGHT, WIDTH = 211, 245  # odd, as screens are cut
MM_PER_PX = 0.5
INDICES = [0, 3, 4, 11]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A tinted clip as JPEG, YBR_FULL_422, with coloured print and a region from odd pixels."""
    grey, _ = printed(fan_frames(height=HEIGHT, width=WIDTH), "MARY", 3, 3)
    colours = (grey[..., None] * np.array([1.0, 0.9, 0.7])).astype(np.uint8)
    write_dicom(
        tmp_path / "clip",
        colours,
        Acquisition("P", "S", "Acme", "One"),
        instance=pydicom.uid.UID("1.2.3"),
        encoding="YBR_FULL_422",
        frame_rate_hz=20.0,
        region=Box(5, 3, 242, 209, MM_PER_PX),
    )
    return tmp_path / "clip"


def header_of(path: Path) -> pydicom.Dataset:
    return pydicom.dcmread(path, stop_before_pixels=True)


def rewritten(path: Path, frames: list[bytes], has_bot: bool = True, **elements: object) -> Path:
    dataset = pydicom.dcmread(path)
    dataset.PixelData = encapsulate(frames, has_bot=has_bot)
    dataset["PixelData"].VR = "OB"
    for name, value in elements.items():
        setattr(dataset, name, value)
    dataset.save_as(path)
    return path


def stored(path: Path) -> list[bytes]:
    return list(generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=12))


@pytest.mark.parametrize("has_bot", [True, False])
def test_pixels_are_pydicoms(path: Path, has_bot: bool) -> None:
    rewritten(path, stored(path), has_bot)
    frames = read_jpeg_frames(path, header_of(path), INDICES, 1)
    expected = np.stack(list(iter_pixels(path, indices=INDICES)))
    assert frames is not None
    assert expected.std() > 20
    assert np.abs(frames.astype(int) - expected).max() <= 1


def test_grey_pixels_are_pydicoms(path: Path) -> None:
    frames = [_jpeg(Image.fromarray(frame)) for frame in fan_frames(height=HEIGHT, width=WIDTH)]
    rewritten(path, frames, SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2")
    found = read_jpeg_frames(path, header_of(path), INDICES, 1)
    np.testing.assert_array_equal(found, np.stack(list(iter_pixels(path, indices=INDICES))))


def test_shrunk_pixels_are_means(path: Path) -> None:
    header = header_of(path)
    whole = read_jpeg_frames(path, header, INDICES, 1)
    shrunk = read_jpeg_frames(path, header, INDICES, 2)
    assert whole is not None
    assert shrunk is not None
    means = np.stack([np.asarray(Image.fromarray(frame).reduce(2)) for frame in whole])
    assert shrunk.shape == means.shape
    assert np.abs(shrunk.astype(int) - means).mean() < 2


def test_a_clip_read_shrunk_is_prepared_like_the_whole_one(path: Path) -> None:
    config = PrepareConfig(size_px=64, field_mm=96.0)
    whole, shrunk = read_clip(path), read_clip(path, wanted_mm_per_px=config.mm_per_px)
    assert (whole.mm_per_px, shrunk.mm_per_px) == (MM_PER_PX, 2 * MM_PER_PX)
    assert shrunk.frames.shape == (12, 106, 123, 3)
    assert shrunk.region == Region(3, 2, 121, 104)
    assert read_clip(path, wanted_mm_per_px=1.9 * MM_PER_PX).frames.shape == whole.frames.shape
    expected, found = prepare(whole, config), prepare(shrunk, config)
    assert found.mm_per_px == expected.mm_per_px
    assert found.depth_lost_mm == pytest.approx(expected.depth_lost_mm, abs=2 * MM_PER_PX)
    assert np.abs(found.frames.astype(int) - expected.frames).mean() < 3
    np.testing.assert_array_equal(
        prepare(read_clip(path, wanted_mm_per_px=1.5), config).frames, found.frames
    )


def test_rgb_in_jpeg_is_left_to_pydicom(path: Path) -> None:
    """Stored as RGB (no transform in its Adobe mark), whatever the header says."""
    rgb = np.stack(list(iter_pixels(path)))
    frames = [_jpeg(Image.fromarray(frame), keep_rgb=True) for frame in rgb]
    rewritten(path, frames, PhotometricInterpretation="RGB")
    assert read_jpeg_frames(path, header_of(path), INDICES, 1) is None
    assert np.abs(read_clip(path).frames.astype(int) - rgb).mean() < 2
    rewritten(path, frames, PhotometricInterpretation="YBR_FULL_422")
    assert read_jpeg_frames(path, header_of(path), INDICES, 1) is None


def test_a_picture_of_another_size_is_left_to_pydicom(path: Path) -> None:
    rewritten(path, stored(path), Rows=HEIGHT - 1)
    assert read_jpeg_frames(path, header_of(path), INDICES, 1) is None


@pytest.mark.parametrize("part", [0.05, 0.6])
def test_a_truncated_frame_is_unreadable(path: Path, part: float) -> None:
    frames = stored(path)
    frames[4] = frames[4][: int(part * len(frames[4])) // 2 * 2]
    rewritten(path, frames)
    assert read_jpeg_frames(path, header_of(path), INDICES, 1) is None
    with pytest.raises(UnreadableClip):
        read_clip(path)


def _jpeg(picture: Image.Image, keep_rgb: bool = False) -> bytes:
    buffer = io.BytesIO()
    options = {"keep_rgb": True, "subsampling": "4:4:4"} if keep_rgb else {}
    picture.save(buffer, "JPEG", quality=95, **options)
    return buffer.getvalue()
