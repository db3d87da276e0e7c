from __future__ import annotations

from pathlib import Path

import numpy as np
from fan_clips import fan_frames

from bsou_dist.sources.read_clip import read_clip

FRAMES = fan_frames()  # (12, 96, 112)


def test_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", frames=FRAMES, mm_per_px=0.7)
    np.savez(tmp_path / "b.npz", frames=FRAMES / 1000.0, mm_per_px=np.nan)
    assert read_clip(tmp_path / "a.npz").mm_per_px == 0.7
    clip = read_clip(tmp_path / "b.npz", max_frames=4)
    assert clip.mm_per_px is None
    assert (clip.frames.dtype, clip.frames.max(), len(clip.frames)) == (np.uint8, 255, 4)


def test_opacity_has_a_scale_of_its_own(tmp_path: Path) -> None:
    opaque = np.ones_like(FRAMES, np.float32)
    np.savez(tmp_path / "a.npz", frames=np.stack([FRAMES / np.float32(255), opaque], axis=-1))
    frames = read_clip(tmp_path / "a.npz").frames
    stretched = FRAMES * (255 / FRAMES.max())
    assert frames.shape == stretched.shape
    assert np.abs(frames.astype(int) - stretched).mean() < 3
