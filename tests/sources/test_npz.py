from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from fan_clips import fan_frames

from bsou_dist.sources.raw_clip import UnreadableClip, even_indices
from bsou_dist.sources.read_clip import read_clip

FRAMES = fan_frames()  # (12, 96, 112)


def test_a_zip_of_dicom_says_what_it_is(tmp_path: Path, dicom: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("README", "a study")
        archive.write(dicom, "study/IM0001")
    with pytest.raises(UnreadableClip, match="a ZIP archive of DICOM files; unpack it"):
        read_clip(tmp_path / "a.zip")


def test_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", frames=FRAMES, mm_per_px=0.7)
    np.savez(tmp_path / "b.npz", frames=FRAMES / 255.0, mm_per_px=np.nan)
    assert read_clip(tmp_path / "a.npz").mm_per_px == 0.7
    clip = read_clip(tmp_path / "b.npz", max_frames=4)
    assert clip.mm_per_px is None
    np.testing.assert_array_equal(clip.frames, FRAMES[even_indices(12, 4)])
