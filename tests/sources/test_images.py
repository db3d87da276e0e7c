"""Folders of numbered images, each written by Pillow and compared with the frames written."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
from fan_clips import fan_frames
from PIL import Image

from bsou_dist.common.frame_range import FrameRange
from bsou_dist.sources.raw_clip import UnreadableClip, even_indices
from bsou_dist.sources.read_clip import read_clip

FRAMES = fan_frames()  # (12, 96, 112)
COLOURS = np.stack([FRAMES, FRAMES // 2, 255 - FRAMES], axis=-1)
ONE_TO_TWELVE = range(1, 13)


def write(
    folder: Path,
    frames: np.ndarray = FRAMES,
    name: str = "frame_{:d}.png",
    **options: object,
) -> Path:
    """The frames as images 1 to 12; a name may hold their number more than once."""
    folder.mkdir()
    for number, frame in zip(ONE_TO_TWELVE, frames, strict=False):
        Image.fromarray(frame).save(folder / name.format(number, number * 33), **options)
    return folder


@pytest.mark.parametrize(
    "name",
    [
        "frame_{:d}.png",  # 10 comes before 2 in the order of letters
        "{:06d}.PNG",
        "P12 2024-03-05 ({:d}).bmp",
        "frame{:02d}_t{:d}.tif",
        "{:d}.pgm",
    ],
)
def test_frames_come_in_the_order_of_their_numbers(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "clip", name=name)
    clip = read_clip(folder)
    np.testing.assert_array_equal(clip.frames, FRAMES)
    assert (clip.source, clip.source_frames, clip.mm_per_px) == ("images", 12, None)
    assert (clip.pixel_aspect, clip.notes) == (1.0, ())
    few = read_clip(folder, max_frames=5)
    np.testing.assert_array_equal(few.frames, FRAMES[even_indices(12, 5)])
    assert few.source_frames == 12


def test_a_part_of_a_series(tmp_path: Path) -> None:
    folder = write(tmp_path / "clip")
    clip = read_clip(folder, part=FrameRange(3, 9))
    np.testing.assert_array_equal(clip.frames, FRAMES[3:9])
    assert clip.source_frames == 6
    with pytest.raises(UnreadableClip, match="holds 12 frames"):
        read_clip(folder, part=FrameRange(3, 13))


def test_images_in_jpeg(tmp_path: Path) -> None:
    clip = read_clip(write(tmp_path / "clip", name="{:d}.jpeg", quality=95))
    assert np.abs(clip.frames.astype(int) - FRAMES).mean() < 2


@pytest.mark.parametrize("kind", ["RGB", "16 bit", "palette", "opacity", "two levels"])
def test_pixels_of_every_kind(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    for number, (grey, colours) in enumerate(zip(FRAMES, COLOURS, strict=True)):
        if kind == "RGB":
            picture = Image.fromarray(colours)
        elif kind == "16 bit":
            picture = Image.fromarray(grey.astype(np.uint16) * 257)
        elif kind == "palette":
            picture = Image.fromarray(grey).convert("P")
        elif kind == "opacity":
            picture = Image.fromarray(np.dstack([colours, np.full_like(grey, 128)]))
        else:
            picture = Image.fromarray(grey > 60)
        picture.save(folder / f"{number}.png")
    expected = {
        "RGB": COLOURS,
        "16 bit": FRAMES,
        "palette": np.repeat(FRAMES[..., None], 3, axis=-1),
        "opacity": np.rint(COLOURS * (128 / 255)).astype(np.uint8),
        "two levels": np.uint8(255) * (FRAMES > 60),
    }[kind]
    np.testing.assert_array_equal(read_clip(folder).frames, expected)


def test_a_telephones_turn_is_followed(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned to the right
    clip = read_clip(write(tmp_path / "clip", name="{:d}.png", exif=exif))
    np.testing.assert_array_equal(clip.frames, np.rot90(FRAMES, -1, axes=(1, 2)))


@pytest.mark.parametrize(("dpi", "aspect"), [((72, 72), 1.0), ((200, 100), 2.0)])
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif"])
def test_dots_per_inch_are_the_shape_of_a_pixel_and_no_spacing(
    tmp_path: Path, suffix: str, dpi: tuple[int, int], aspect: float
) -> None:
    clip = read_clip(write(tmp_path / "clip", name=f"{{:d}}.{suffix}", dpi=dpi))
    assert clip.mm_per_px is None
    assert clip.pixel_aspect == pytest.approx(aspect, rel=0.01)  # PNG rounds to dots per metre


def test_a_turned_image_keeps_its_tall_pixels(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    clip = read_clip(write(tmp_path / "clip", name="{:d}.png", dpi=(200, 100), exif=exif))
    assert clip.pixel_aspect == pytest.approx(0.5, rel=0.01)


def test_a_ratio_without_a_unit(tmp_path: Path) -> None:
    folder = write(tmp_path / "clip", name="{:d}.png")
    for path in folder.iterdir():
        data = path.read_bytes()
        chunk = b"pHYs" + (2).to_bytes(4, "big") + (3).to_bytes(4, "big") + b"\x00"
        checksum = zlib.crc32(chunk).to_bytes(4, "big")
        path.write_bytes(data[:33] + (9).to_bytes(4, "big") + chunk + checksum + data[33:])
    assert read_clip(folder).pixel_aspect == pytest.approx(2 / 3)


def test_numbers_that_are_left_out_are_noted(tmp_path: Path) -> None:
    folder = write(tmp_path / "clip")
    (folder / "frame_7.png").unlink()
    clip = read_clip(folder)
    assert clip.source_frames == 11
    assert [note.split(": ")[0] for note in clip.notes] == ["frames missing"]


def test_other_files_are_passed_over(tmp_path: Path) -> None:
    folder = write(tmp_path / "clip")
    for name in ("Thumbs.db", ".DS_Store", "labels.csv", "._frame_1.png"):
        (folder / name).write_bytes(b"something")
    (folder / "frame_13.png").mkdir()
    np.testing.assert_array_equal(read_clip(folder).frames, FRAMES)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ("overview.png", "not one numbered series"),
        ("other_1.png", "not one numbered series"),
        ("frame_13.jpg", "not one numbered series"),
        ("frame_01.png", "not one numbered series"),
    ],
)
def test_of_several_series_none_is_taken(tmp_path: Path, other: str, reason: str) -> None:
    folder = write(tmp_path / "clip")
    Image.fromarray(FRAMES[0]).save(folder / other)
    with pytest.raises(UnreadableClip, match=reason):
        read_clip(folder)


def test_two_numbers_that_do_not_grow_together_are_several_series(tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    for sweep in (1, 2):
        for number in ONE_TO_TWELVE:
            Image.fromarray(FRAMES[number - 1]).save(folder / f"sweep{sweep}_{number}.png")
    with pytest.raises(UnreadableClip, match="not one numbered series"):
        read_clip(folder)


def test_a_link_among_the_images_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "clip")
    (folder / "frame_3.png").rename(tmp_path / "secret.png")
    (folder / "frame_3.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(UnreadableClip, match="is a link"):
        read_clip(folder)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "pgm"])
def test_a_damaged_image_is_told_by_its_place(tmp_path: Path, suffix: str) -> None:
    folder = write(tmp_path / "clip", name=f"{{:d}}.{suffix}")
    whole = (folder / "3.png".replace("png", suffix)).read_bytes()
    for part in (0, 20, len(whole) // 2):
        (folder / f"3.{suffix}").write_bytes(whole[:part])
        with pytest.raises(UnreadableClip, match="image 3 of 12 cannot be read"):
            read_clip(folder)


def test_images_of_several_sizes_or_pages_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "clip", name="{:d}.tif")
    Image.fromarray(FRAMES[2][:90]).save(folder / "3.tif")
    with pytest.raises(UnreadableClip, match="changes its size"):
        read_clip(folder)
    pages = [Image.fromarray(frame) for frame in FRAMES[:2]]
    pages[0].save(folder / "3.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(UnreadableClip, match="several pages"):
        read_clip(folder)


def test_grey_and_coloured_images_are_shown_in_colour(tmp_path: Path) -> None:
    folder = write(tmp_path / "clip")
    Image.fromarray(COLOURS[2]).save(folder / "frame_3.png")
    frames = read_clip(folder).frames
    np.testing.assert_array_equal(frames[2], COLOURS[2])
    np.testing.assert_array_equal(frames[3], np.repeat(FRAMES[3][..., None], 3, axis=-1))
