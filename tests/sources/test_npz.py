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


@pytest.mark.parametrize(
    ("mm_per_px", "width_mm", "aspect"),
    [
        (0.7, 0.7, 1.0),
        ([0.7], 0.7, 1.0),
        ([0.3, 0.2], 0.2, 1.5),  # of rows, then of columns, as the axes of the frames come
        ([2, 1], 1.0, 2.0),
        ([0.3, 0.0], None, 1.0),
        ([0.3, np.nan], None, 1.0),
        ([0.3, 0.2, 1.0], None, 1.0),
        ("0.7", None, 1.0),
        ([9.0, 0.2], None, 1.0),
    ],
)
def test_spacing_of_an_npz(
    tmp_path: Path, mm_per_px: object, width_mm: float | None, aspect: float
) -> None:
    np.savez(tmp_path / "a.npz", frames=FRAMES, mm_per_px=mm_per_px)
    clip = read_clip(tmp_path / "a.npz")
    assert (clip.mm_per_px, clip.pixel_aspect) == (width_mm, pytest.approx(aspect))
    assert clip.scale_source == (None if width_mm is None else "mm_per_px")
    assert bool(clip.notes) == (mm_per_px == [9.0, 0.2])  # pixels that no screen has
