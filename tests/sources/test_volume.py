from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from fan_clips import fan_frames

from bsou_dist.sources.raw_clip import (
    RawClip,
    UnreadableClip,
    even_indices,
)
from bsou_dist.sources.read_clip import read_clip

FRAMES = fan_frames()  # (12, 96, 112)
COLOURS = np.stack([FRAMES, FRAMES // 2, 255 - FRAMES], axis=-1)


@pytest.mark.parametrize("suffix", [".mha", ".mhd", ".nrrd"])
def test_volumes(tmp_path: Path, suffix: str) -> None:
    image = sitk.GetImageFromArray(FRAMES)
    image.SetSpacing((0.4, 0.6, 1.0))
    sitk.WriteImage(image, str(tmp_path / f"clip{suffix}"), suffix != ".mhd")
    path = (tmp_path / f"clip{suffix}").rename(tmp_path / "clip.bin")
    clip = read_clip(path, max_frames=2)
    np.testing.assert_array_equal(clip.frames, FRAMES[[0, 11]])
    assert (clip.source_frames, clip.mm_per_px, clip.pixel_aspect) == (12, 0.4, pytest.approx(1.5))


def test_unit_spacing_of_a_volume_means_unknown(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(FRAMES), str(tmp_path / "clip.mha"))
    assert read_clip(tmp_path / "clip.mha").mm_per_px is None


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_arrays_and_volumes_of_1_to_4_channels(tmp_path: Path, channels: int) -> None:
    expected = FRAMES if channels < 3 else COLOURS
    frames = FRAMES[..., None] if channels < 3 else COLOURS
    if channels in (2, 4):
        opacity = np.full((*FRAMES.shape, 1), 255, np.uint8)
        opacity[..., :50, :] = 0
        frames = np.concatenate([frames, opacity], axis=-1)
        expected = expected.copy()
        expected[:, :, :50] = 0
    assert frames.shape[-1] == channels
    np.savez_compressed(tmp_path / "a.npz", frames=frames)
    image = sitk.GetImageFromArray(frames, isVector=True)
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    sitk.WriteImage(image, str(tmp_path / "b.mha"), True)
    sitk.WriteImage(image, str(tmp_path / "a.nrrd"), True)
    for name in ("a.npz", "a.mha", "b.mha", "a.nrrd"):
        clip = read_clip(tmp_path / name, max_frames=5)
        np.testing.assert_array_equal(clip.frames, expected[even_indices(12, 5)], err_msg=name)
        assert clip.source_frames == 12


def test_a_volume_may_not_link_to_its_pixels(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(FRAMES), str(tmp_path / "a.mhd"))
    assert len(read_clip(tmp_path / "a.mhd").frames) == 12
    (tmp_path / "a.raw").rename(tmp_path / "secret")
    (tmp_path / "a.raw").symlink_to("secret")
    with pytest.raises(UnreadableClip, match="other files than one beside it"):
        read_clip(tmp_path / "a.mhd")


@pytest.mark.skipif(
    "BSOU_CLIPS" not in os.environ, reason="BSOU_CLIPS names no folder of real clips"
)
def test_real_freehand_sweep() -> None:
    clip = read_clip(Path(os.environ["BSOU_CLIPS"]) / "freehand-spine-phantom.igs.mha")
    assert isinstance(clip, RawClip)
    assert (clip.frames.shape, clip.mm_per_px) == ((21, 616, 820), None)
