from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from fan_clips import fan_frames

from bsou_dist.prepare.prepare_clip import PrepareConfig, RejectedClip, prepare
from bsou_dist.sources.read_clip import read_clip
from bsou_dist.sources.video_luma import luma_of_grey

GREY = np.repeat(fan_frames(height=96, width=130)[..., None], 3, axis=3)


def video(path: Path, frames: np.ndarray, pix_fmt: str) -> Path:
    with av.open(path, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=20, options={"crf": "4"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pix_fmt
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuvj420p", "yuv422p", "yuv444p"])
def test_luma_is_what_rgb_shows(tmp_path: Path, pix_fmt: str) -> None:
    path = video(tmp_path / "clip.mp4", GREY, pix_fmt)
    shown, luma = read_clip(path).frames, read_clip(path, wanted_mm_per_px=1.0).frames
    assert shown.shape == GREY.shape
    assert luma.shape == GREY.shape[:3]
    assert np.abs(luma[..., None].astype(int) - shown).max() <= 2
    assert luma.max() > 150
    assert luma.min() == 0


@pytest.mark.parametrize(("side_px", "grey"), [(4, True), (16, False)])
def test_small_coloured_marks_do_not_count_and_larger_ones_do(
    tmp_path: Path, side_px: int, grey: bool
) -> None:
    frames = np.pad(GREY, ((0, 0), (0, 500), (0, 700), (0, 0)))
    frames[:, 2 : 2 + side_px, 2 : 2 + side_px] = (220, 40, 30)
    path = video(tmp_path / "clip.mp4", frames, "yuv420p")
    assert read_clip(path, wanted_mm_per_px=1.0).frames.ndim == (3 if grey else 4)


def test_a_small_fan_is_judged_by_its_own_size(tmp_path: Path) -> None:
    """Flow that is next to nothing of the screen may be much of the fan."""
    frames = np.pad(GREY, ((0, 0), (0, 250), (0, 300), (0, 0)))
    frames[:, 50:60, 60:70] = frames[:, 50:60, 60:70] // 2 + np.array((127, 12, 12), np.uint8)
    path = video(tmp_path / "clip.mp4", frames, "yuv420p")
    for wanted in (None, 1.0):
        with pytest.raises(RejectedClip, match="colour Doppler"):
            prepare(read_clip(path, wanted_mm_per_px=wanted), PrepareConfig(), 1.2)


def test_colours_that_come_up_are_in_every_frame_that_has_them(tmp_path: Path) -> None:
    frames = GREY.copy()
    frames[6:, 40:70, 50:80] = (220, 40, 30)
    path = video(tmp_path / "clip.mp4", frames, "yuv420p")
    shown, found = read_clip(path).frames, read_clip(path, wanted_mm_per_px=1.0).frames
    assert found.shape == shown.shape
    np.testing.assert_array_equal(found[6:], shown[6:])
    assert np.abs(found[:6].astype(int) - shown[:6]).max() <= 8


def test_other_formats_are_left_to_ffmpeg() -> None:
    assert luma_of_grey(av.VideoFrame.from_ndarray(GREY[0], format="rgb24")) is None
    assert luma_of_grey(av.VideoFrame.from_ndarray(GREY[0, ..., 0], format="gray")) is None


@pytest.mark.parametrize("tint", [(1.0, 1.0, 1.0), (1.0, 0.95, 0.85), (0.5, 0.8, 1.0)])
def test_preparation_is_the_same(tmp_path: Path, tint: tuple[float, float, float]) -> None:
    path = video(tmp_path / "clip.mp4", (GREY * np.array(tint)).astype(np.uint8), "yuv420p")
    config = PrepareConfig(size_px=64, field_mm=128.0)
    expected, found = (
        prepare(read_clip(path, wanted_mm_per_px=wanted), config, 1.2)
        for wanted in (None, config.mm_per_px)
    )
    assert np.abs(found.frames.astype(int) - expected.frames).max() <= 2
