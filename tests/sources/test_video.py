"""Videos as capture boxes and telephones write them."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from fan_clips import fan_frames, write_video
from source_files import with_box_in_front, with_edit_list, with_empty_chunks, write_gif

from bsou_dist.sources.raw_clip import (
    UnreadableClip,
)
from bsou_dist.sources.read_clip import read_clip

FRAMES = fan_frames()  # (12, 96, 112)
COLOURS = np.stack([FRAMES, FRAMES // 2, 255 - FRAMES], axis=-1)


def video(
    path: Path,
    frames: np.ndarray,
    given: str,
    codec: str,
    stored: str,
    *,
    times: list[int] | None = None,
    prepare: Callable[[av.VideoStream], None] = lambda stream: None,
    **options: str,
) -> Path:
    """A lossless video unless the codec is not; times in ms."""
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=20, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = stored
        if times is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        prepare(stream)
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=given)
            if times is not None:
                frame.pts, frame.time_base = times[index], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def close(frames: np.ndarray, expected: np.ndarray) -> bool:
    return frames.shape == expected.shape and np.abs(frames.astype(int) - expected).mean() < 3


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "libx264"), ("a.mov", "libx264"), ("a.mkv", "libx264"), ("a.avi", "mjpeg")],
)
def test_videos(tmp_path: Path, name: str, codec: str) -> None:
    write_video(tmp_path / name, FRAMES, codec)
    misnamed = (tmp_path / name).rename(tmp_path / "clip.dcm")
    clip = read_clip(misnamed)
    assert clip.frames.shape == (12, 96, 112, 3)
    assert clip.mm_per_px is None
    assert np.abs(clip.frames[..., 0].astype(int) - FRAMES).mean() < 5
    np.testing.assert_array_equal(read_clip(misnamed, max_frames=3).frames, clip.frames[[0, 6, 11]])


@pytest.mark.parametrize(
    ("degrees", "hflip", "vflip"),
    [
        (degrees, hflip, vflip)
        for degrees in (0, 90, 180, 270)
        for hflip in (False, True)
        for vflip in (False, True)
    ],
)
def test_a_rotated_or_mirrored_video_is_shown_upright(
    tmp_path: Path, degrees: int, hflip: bool, vflip: bool
) -> None:
    def turn(stream: av.VideoStream) -> None:
        stream.set_display_rotation(degrees, hflip=hflip, vflip=vflip)

    path = video(tmp_path / "a.mp4", FRAMES, "gray", "libx264", "yuv420p", prepare=turn, crf="4")
    expected = np.rot90(FRAMES, degrees // 90, axes=(1, 2))
    if vflip:
        expected = expected[:, ::-1]
    if hflip:
        expected = expected[:, :, ::-1]
    assert close(read_clip(path).frames[..., 0], expected)


def test_a_rotated_video_keeps_its_tall_pixels(tmp_path: Path) -> None:
    def tall(stream: av.VideoStream) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(1, 2)

    def tall_and_turned(stream: av.VideoStream) -> None:
        tall(stream)
        stream.set_display_rotation(90)

    path = video(tmp_path / "a.mp4", FRAMES, "gray", "libx264", "yuv420p", prepare=tall)
    assert read_clip(path).pixel_aspect == 2.0
    path = video(tmp_path / "b.mp4", FRAMES, "gray", "libx264", "yuv420p", prepare=tall_and_turned)
    assert read_clip(path).pixel_aspect == 0.5


@pytest.mark.parametrize(
    ("given", "stored", "codec", "suffix", "depth"),
    [
        ("gray", "gray", "ffv1", "mkv", 8),
        ("gray16le", "gray16le", "ffv1", "mkv", 16),
        ("gray10le", "gray10le", "ffv1", "mkv", 10),
        ("gray", "yuv420p10le", "libx264", "mp4", 8),
        ("gray", "yuv444p", "libx264", "mp4", 8),
        ("gray", "yuvj422p", "mjpeg", "mov", 8),
        ("gray", "gray", "rawvideo", "avi", 8),
    ],
)
def test_grey_of_8_to_16_bits(
    tmp_path: Path, given: str, stored: str, codec: str, suffix: str, depth: int
) -> None:
    deep = FRAMES if depth == 8 else FRAMES.astype(np.uint16) << (depth - 8)
    options = {"libx264": {"qp": "4"}, "mjpeg": {"qmin": "1", "qmax": "2"}}.get(codec, {})
    clip = read_clip(video(tmp_path / f"a.{suffix}", deep, given, codec, stored, **options))
    grey = clip.frames if clip.frames.ndim == 3 else clip.frames[..., 1]
    assert close(grey, FRAMES)
    assert abs(int(grey.max()) - int(FRAMES.max())) < 8


@pytest.mark.parametrize(
    ("given", "stored", "codec", "suffix"),
    [
        ("rgb24", "rgb24", "qtrle", "mov"),
        ("rgb24", "rgb24", "png", "mov"),
        ("rgb24", "bgr0", "ffv1", "mkv"),
        ("rgb24", "bgr24", "rawvideo", "avi"),
        ("rgb24", "yuv444p", "libx264", "mkv"),
    ],
)
def test_colour_of_8_bits(tmp_path: Path, given: str, stored: str, codec: str, suffix: str) -> None:
    options = {"qp": "4"} if codec == "libx264" else {}
    path = video(tmp_path / f"a.{suffix}", COLOURS, given, codec, stored, **options)
    assert close(read_clip(path).frames, COLOURS)


@pytest.mark.parametrize(
    ("stored", "codec", "suffix"),
    [
        ("argb", "qtrle", "mov"),
        ("rgba", "png", "mov"),
        ("bgra", "ffv1", "mkv"),
        ("ya8", "png", "mov"),
    ],
)
def test_what_is_transparent_is_black(tmp_path: Path, stored: str, codec: str, suffix: str) -> None:
    frames = np.stack([FRAMES, FRAMES, FRAMES, np.full_like(FRAMES, 255)], axis=-1)
    frames[:, :, :30, :] = (200, 200, 200, 0)
    frames[:, :, 30:60, 3] = 128
    shown = read_clip(video(tmp_path / f"a.{suffix}", frames, "rgba", codec, stored)).frames[..., 1]
    assert shown[:, :, :30].max() == 0
    assert close(shown[:, :, 30:60], FRAMES[:, :, 30:60] * (128 / 255))
    assert close(shown[:, :, 60:], FRAMES[:, :, 60:])


def test_a_palette_of_colours(tmp_path: Path) -> None:
    palette = np.zeros((256, 4), np.uint8)
    palette[:, 0] = np.arange(256)[::-1]  # of a value, its complement in red
    palette[:, 3] = 255
    with av.open(tmp_path / "a.mov", "w") as container:
        stream = container.add_stream("png", rate=20)
        stream.height, stream.width = FRAMES.shape[1:]
        stream.pix_fmt = "pal8"
        for pixels in FRAMES:
            frame = av.VideoFrame.from_ndarray((pixels, palette), format="pal8")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    frames = read_clip(tmp_path / "a.mov").frames
    np.testing.assert_array_equal(np.sort(frames, axis=-1)[..., 2], 255 - FRAMES)
    np.testing.assert_array_equal(np.sort(frames, axis=-1)[..., 1], 0)


def test_of_interlaced_frames_one_field_is_shown(tmp_path: Path) -> None:
    """Two fields of different moments make a comb of all that moves; every second line stays."""
    woven = FRAMES[:-1].copy()
    woven[:, 1::2] = FRAMES[1:, 1::2]

    def interlaced(stream: av.VideoStream) -> None:
        stream.codec_context.flags |= 1 << 18 | 1 << 29  # interlaced DCT and motion estimation

    options = {"qmin": "1", "qmax": "2", "b": "9000000", "top": "1"}
    path = tmp_path / "a.avi"
    video(path, woven, "gray", "mpeg2video", "yuv420p", prepare=interlaced, **options)
    frames = read_clip(path).frames[..., 0].astype(float)
    assert close(frames[:, ::2], woven[:, ::2])
    between = (woven[:, :-2:2].astype(float) + woven[:, 2::2]) / 2
    assert close(frames[:, 1:-1:2], between)
    assert not close(frames[:, 1::2], woven[:, 1::2])


def test_frames_are_even_in_time_where_their_rate_varies(tmp_path: Path) -> None:
    fast_then_slow = [0, 10, 20, 30, 40, 50, 60, 70, 80, 180, 280, 400]  # ms
    nearest = [0, 8, 9, 10, 11]  # to 0, 100, 200, 300 and 400
    path = video(tmp_path / "a.mkv", FRAMES, "gray", "ffv1", "gray", times=fast_then_slow)
    clip = read_clip(path, max_frames=5)
    np.testing.assert_array_equal(clip.frames, FRAMES[nearest])
    assert clip.source_frames == 12
    path = tmp_path / "a.mp4"
    options = {"bf": "2", "crf": "4"}
    video(path, FRAMES, "gray", "libx264", "yuv420p", times=fast_then_slow, **options)
    assert close(read_clip(path, max_frames=5).frames[..., 0], FRAMES[nearest])


def test_of_2000_frames_only_those_wanted_are_held(tmp_path: Path) -> None:
    def moving(index: int) -> np.ndarray:
        return np.full((96, 112), index // 8, np.uint8)

    write_video(tmp_path / "a.mp4", np.stack([moving(index) for index in range(2000)]), crf="4")
    clip = read_clip(tmp_path / "a.mp4", max_frames=5)
    assert clip.source_frames == 2000
    brightness = clip.frames[..., 0].mean(axis=(1, 2))
    assert np.abs(brightness - np.array([0, 62.5, 125, 187, 249])).max() < 4


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_two_frames_are_a_clip(tmp_path: Path, name: str) -> None:
    write_video(tmp_path / name, FRAMES[:2], "mjpeg" if name == "a.avi" else "libx264")
    assert read_clip(tmp_path / name, max_frames=48).frames.shape == (2, 96, 112, 3)


@pytest.mark.parametrize("name", ["a.mkv", "a.avi", "a.mov"])
def test_a_video_that_ends_too_early_is_refused(tmp_path: Path, name: str) -> None:
    options = {"movflags": "faststart"} if name == "a.mov" else {}
    codec = "mjpeg" if name == "a.avi" else "libx264"
    write_video(tmp_path / name, fan_frames(count=60), codec, **options)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(UnreadableClip, match="truncated or damaged video"):
        read_clip(tmp_path / name)


@pytest.mark.parametrize(("first", "count"), [(0, 12), (0, 7), (5, 7), (3, 6), (11, 1)])
def test_frames_that_an_edit_list_hides_are_neither_counted_nor_shown(
    tmp_path: Path, first: int, count: int
) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, FRAMES)
    every = read_clip(path).frames
    path.write_bytes(with_edit_list(path.read_bytes(), first=first, count=count))
    clip = read_clip(path)
    assert clip.source_frames == count
    np.testing.assert_array_equal(clip.frames, every[first : first + count])
    few = read_clip(path, max_frames=2).frames
    np.testing.assert_array_equal(few, clip.frames[[0, -1]] if count > 1 else clip.frames)


def test_an_edit_list_may_begin_behind_several_key_frames(tmp_path: Path) -> None:
    path = tmp_path / "a.mov"
    write_video(path, fan_frames(count=40), "mjpeg")  # in which each frame is one
    every = read_clip(path).frames
    path.write_bytes(with_edit_list(path.read_bytes(), first=30, count=8))
    np.testing.assert_array_equal(read_clip(path).frames, every[30:38])


def test_an_edit_list_does_not_hide_that_a_video_ends_too_early(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, fan_frames(count=40), movflags="faststart")
    whole = with_edit_list(path.read_bytes(), first=0, count=10)
    path.write_bytes(whole)
    assert read_clip(path).source_frames == 10
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(UnreadableClip, match="truncated or damaged video"):
        read_clip(path)


@pytest.mark.parametrize("after", [{}, {0: 1}, {3: 2, 7: 5}, {11: 9}, {0: 3, 5: 1, 11: 20}])
def test_empty_chunks_of_an_avi_are_no_frames(tmp_path: Path, after: dict[int, int]) -> None:
    path = tmp_path / "a.avi"
    write_video(path, FRAMES, "mjpeg")
    every = read_clip(path).frames
    whole = with_empty_chunks(path.read_bytes(), after)
    path.write_bytes(whole)
    clip = read_clip(path)
    assert clip.source_frames == 12
    np.testing.assert_array_equal(clip.frames, every)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableClip, match="truncated or damaged video"):
        read_clip(path)


@pytest.mark.parametrize("box", [b"uuid", b"styp", b"pnot", b"free", b"skip", b"wide"])
def test_a_box_in_front_of_the_others(tmp_path: Path, box: bytes) -> None:
    path = tmp_path / "a.mov"
    write_video(path, FRAMES)
    expected = read_clip(path).frames
    path.write_bytes(with_box_in_front(path.read_bytes(), box))
    np.testing.assert_array_equal(read_clip(path).frames, expected)


def test_a_video_turned_by_an_odd_angle_is_noted(tmp_path: Path) -> None:
    def turned_by(degrees: int) -> Path:
        return video(
            tmp_path / f"{degrees}.mp4",
            FRAMES,
            "gray",
            "libx264",
            "yuv420p",
            prepare=lambda stream: stream.set_display_rotation(degrees),
        )

    assert read_clip(turned_by(90)).notes == ()
    clip = read_clip(turned_by(30))
    assert [note.split(": ")[0] for note in clip.notes] == ["orientation"]
    assert clip.frames.shape == (12, 96, 112, 3)


def test_an_animated_gif(tmp_path: Path) -> None:
    path = write_gif(tmp_path / "a.dcm", FRAMES, duration=50, loop=0)
    clip = read_clip(path)
    assert (clip.source_frames, clip.mm_per_px, clip.pixel_aspect) == (12, None, 1.0)
    np.testing.assert_array_equal(clip.frames[..., 1], FRAMES)
    times_ms = [10] * 8 + [100, 100, 120, 10]
    write_gif(path, FRAMES, duration=times_ms)
    np.testing.assert_array_equal(
        read_clip(path, max_frames=5).frames[..., 1], FRAMES[[0, 8, 9, 10, 11]]
    )


def test_a_gif_that_ends_too_early_is_refused(tmp_path: Path) -> None:
    path = write_gif(tmp_path / "a.gif", fan_frames(count=60), duration=50)
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(10))
    assert read_clip(path).source_frames == 60
    path.write_bytes(whole[: len(whole) * 99 // 100])
    with pytest.raises(UnreadableClip, match="truncated or damaged video"):
        read_clip(path)
