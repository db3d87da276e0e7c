"""Intensity features: of clips whose brightness is known."""

from __future__ import annotations

import numpy as np
import pytest

from bsou_dist.predict.intensity_features import (
    BANDS,
    FEATURES,
    FRAMES,
    clip_features,
    frames_to_look_at,
)

RECORD = {"frames": 40, "size": 4000, "mm_per_px": 0.5}


def features_of(frames: np.ndarray) -> dict[str, float]:
    return dict(zip(FEATURES, clip_features(frames, RECORD), strict=True))


def test_frames_are_the_middles_of_equal_parts():
    assert frames_to_look_at(FRAMES).tolist() == list(range(FRAMES))
    assert frames_to_look_at(80).tolist() == [5, 15, 25, 35, 45, 55, 65, 75]
    assert set(frames_to_look_at(3)) == {0, 1, 2}


def test_brightness_is_told_by_time_depth_and_breadth():
    frames = np.zeros((FRAMES, 24, 36), np.uint8)
    frames += (10 * np.arange(1, FRAMES + 1, dtype=np.uint8))[:, None, None]
    found = features_of(frames)
    assert [found[f"time_{part}"] for part in range(FRAMES)] == pytest.approx(
        [10 * part / 255 for part in range(1, FRAMES + 1)]
    )
    depths = np.repeat(np.arange(BANDS), 4)
    frames = np.broadcast_to(depths[None, :, None].astype(np.uint8), (FRAMES, 24, 36))
    found = features_of(frames)
    for band in range(BANDS):
        assert found[f"depth_{band}"] == pytest.approx(band / 255)
        assert found[f"breadth_{band}"] == pytest.approx(2.5 / 255)
    assert found["time_0_depth_2"] == pytest.approx(4.5 / 255)


def test_what_is_black_outside_the_fan_is_not_counted_and_sizes_are():
    frames = np.zeros((FRAMES, 8, 8), np.uint8)
    frames[:, 2:4] = 51
    found = features_of(frames)
    assert found["mean"] == pytest.approx(0.2)
    assert found["deviation"] == pytest.approx(0.0)
    assert found["log_frames"] == pytest.approx(np.log(40))
    assert found["log_bytes_per_frame"] == pytest.approx(np.log(100))
    assert np.isfinite(clip_features(np.zeros_like(frames), RECORD)).all()
