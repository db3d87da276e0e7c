from __future__ import annotations

import numpy as np
import pytest
from fan_clips import fan_frames, fan_truth

from bsou_dist.prepare.odd_frames import odd_frames
from bsou_dist.prepare.prepare_clip import PrepareConfig, RejectedClip, prepare
from bsou_dist.sources.raw_clip import RawClip


@pytest.mark.parametrize("number", [0, 5, 11])
def test_a_frame_whose_surroundings_are_others_shows_another_screen(number: int) -> None:
    frames = fan_frames()
    around = ~fan_truth()
    frames[:, around] = 60
    assert not odd_frames(frames).any()
    frames[number, around] = 200
    assert np.flatnonzero(odd_frames(frames)).tolist() == [number]


def test_noise_without_a_fan_is_named_as_noise() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (20, 64, 64), dtype=np.uint8)
    clip = RawClip(frames, "npz", source_frames=20, mm_per_px=1.2)
    with pytest.raises(RejectedClip, match="noise around the fan: nothing moves beyond it"):
        prepare(clip, PrepareConfig(size_px=64, field_mm=128.0))
