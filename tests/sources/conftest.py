"""A clip as a scanner writes it."""

from __future__ import annotations

from pathlib import Path

import pytest
from fan_clips import FanClip, fan_frames, row

from bsou_dist.phantom.files.cohort_files import write_phantom


@pytest.fixture
def dicom(tmp_path: Path) -> Path:
    """`fan_frames()` as multi-frame DICOM, with region and spacing."""
    write_phantom([FanClip(row(0), fan_frames())], tmp_path)
    return tmp_path / "clips" / "000000.dcm"
