from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from fan_clips import fan_frames, printed
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import iter_pixels
from source_files import with_numbers, without_segments

from bsou_dist.phantom.files.dicom import Acquisition, Box, write_dicom
from bsou_dist.prepare.prepare_clip import PrepareConfig, prepare
from bsou_dist.sources.dicom_frames import compressed_frames
from bsou_dist.sources.dicom_jpeg import decoded_jpegs
from bsou_dist.sources.raw_clip import RawClip, Region, UnreadableClip
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


def jpegs_of(path: Path, shrink: int = 1) -> np.ndarray | None:
    """Pixels of the frames wanted, as libjpeg decodes them."""
    header = header_of(path)
    decoded = decoded_jpegs(compressed_frames(path, header, INDICES), header, shrink)
    return None if decoded is None else decoded.pixels


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
    frames = jpegs_of(path)
    expected = np.stack(list(iter_pixels(path, indices=INDICES)))
    assert frames is not None
    assert expected.std() > 20
    assert np.abs(frames.astype(int) - expected).max() <= 1


def test_grey_pixels_are_pydicoms(path: Path) -> None:
    frames = [_jpeg(Image.fromarray(frame)) for frame in fan_frames(height=HEIGHT, width=WIDTH)]
    rewritten(path, frames, SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2")
    found = jpegs_of(path)
    np.testing.assert_array_equal(found, np.stack(list(iter_pixels(path, indices=INDICES))))


def test_shrunk_pixels_are_means(path: Path) -> None:
    whole = jpegs_of(path)
    shrunk = jpegs_of(path, shrink=2)
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


@pytest.mark.parametrize("label", ["RGB", "YBR_FULL_422"])
@pytest.mark.parametrize("marks", ["letters", "Adobe", "nothing"])
def test_rgb_in_jpeg_is_rgb_whatever_the_header_says(path: Path, label: str, marks: str) -> None:
    rgb = np.stack(list(iter_pixels(path)))
    frames = [_jpeg(Image.fromarray(frame), keep_rgb=True) for frame in rgb]
    if marks != "Adobe":
        frames = [without_segments(frame) for frame in frames]
    if marks != "letters":
        frames = [with_numbers(frame, b"RGB", bytes([0, 1, 2])) for frame in frames]
    rewritten(path, frames, PhotometricInterpretation=label)
    clip = read_clip(path)
    assert np.abs(clip.frames.astype(int) - rgb).mean() < 2
    assert has_note(clip, "colours relabelled") == (label != "RGB")


@pytest.mark.parametrize("label", ["RGB", "YBR_FULL"])
@pytest.mark.parametrize("says", ["JFIF", "sampling", "numbers", "nothing"])
def test_ycbcr_in_jpeg_is_ycbcr_whatever_the_header_says(path: Path, label: str, says: str) -> None:
    rgb = np.stack(list(iter_pixels(path)))
    subsampling = "4:2:2" if says == "sampling" else "4:4:4"
    frames = [_jpeg(Image.fromarray(frame), subsampling=subsampling) for frame in rgb]
    if says != "JFIF":
        frames = [without_segments(frame) for frame in frames]
    if says in ("sampling", "nothing"):
        frames = [with_numbers(frame, bytes([1, 2, 3]), bytes([0, 1, 2])) for frame in frames]
    rewritten(path, frames, PhotometricInterpretation=label)
    clip = read_clip(path)
    assert np.abs(clip.frames.astype(int) - rgb).mean() < 2
    assert has_note(clip, "colours relabelled") == (label == "RGB")


BLUE = np.zeros((12, HEIGHT, WIDTH, 3), np.uint8) + np.array([0, 60, 250], np.uint8)
"""Neither grey in RGB nor neutral in YCbCr: its look tells nothing."""
NO_NUMBERS = bytes([0, 1, 2])  # that mean anything


def as_blue(mark: str, *, is_rgb: bool) -> list[bytes]:
    """`BLUE` as JPEGs that say what they hold by this mark alone."""
    subsampling = "4:2:2" if mark == "sampling" else "4:4:4"
    frames = []
    for frame in BLUE:
        jpeg = _jpeg(Image.fromarray(frame), keep_rgb=is_rgb, subsampling=subsampling)
        if mark not in ("Adobe", "JFIF"):
            jpeg = without_segments(jpeg)
        if mark not in ("letters", "numbers"):
            jpeg = with_numbers(jpeg, b"RGB" if is_rgb else bytes([1, 2, 3]), NO_NUMBERS)
        frames.append(jpeg)
    return frames


@pytest.mark.parametrize(
    ("mark", "is_rgb"),
    [
        ("Adobe", True),
        ("letters", True),
        ("JFIF", False),
        ("sampling", False),
        ("numbers", False),
    ],
)
def test_each_mark_is_believed_before_the_header(path: Path, mark: str, is_rgb: bool) -> None:
    for label in ("RGB", "YBR_FULL"):
        frames = as_blue(mark, is_rgb=is_rgb)
        rewritten(path, frames, PhotometricInterpretation=label)
        assert np.abs(read_clip(path).frames.astype(int) - BLUE).mean() < 2


@pytest.mark.parametrize("label", ["RGB", "YBR_FULL"])
def test_colours_that_nothing_tells_are_what_the_header_says(path: Path, label: str) -> None:
    frames = as_blue("nothing", is_rgb=label == "RGB")
    rewritten(path, frames, PhotometricInterpretation=label)
    assert np.abs(read_clip(path).frames.astype(int) - BLUE).mean() < 2


@pytest.mark.parametrize(
    "name", ["SC_jpeg_no_color_transform.dcm", "SC_jpeg_no_color_transform_2.dcm"]
)
def test_pydicoms_rgb_in_jpeg_without_marks(name: str) -> None:
    path = Path(get_testdata_file(name, download=False))
    expected = next(iter_pixels(path))
    assert np.abs(read_clip(path).frames[0].astype(int) - expected).max() <= 1


def test_a_picture_of_another_size_is_left_to_pydicom(path: Path) -> None:
    rewritten(path, stored(path), Rows=HEIGHT - 1)
    assert jpegs_of(path) is None


@pytest.mark.parametrize("part", [0.05, 0.6])
def test_a_truncated_frame_is_unreadable(path: Path, part: float) -> None:
    frames = stored(path)
    frames[4] = frames[4][: int(part * len(frames[4])) // 2 * 2]
    rewritten(path, frames)
    assert jpegs_of(path) is None
    with pytest.raises(UnreadableClip):
        read_clip(path)


def has_note(clip: RawClip, kind: str) -> bool:
    return any(note.startswith(f"{kind}: ") for note in clip.notes)


def _jpeg(picture: Image.Image, keep_rgb: bool = False, subsampling: str = "4:4:4") -> bytes:
    buffer = io.BytesIO()
    options = {"keep_rgb": True} if keep_rgb else {}
    if picture.mode == "RGB":
        options["subsampling"] = subsampling
    picture.save(buffer, "JPEG", quality=95, **options)
    return buffer.getvalue()
