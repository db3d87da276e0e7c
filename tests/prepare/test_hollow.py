from __future__ import annotations

import numpy as np
import pytest
from fan_clips import fan_frames, fan_truth, printed

from bsou_dist.prepare.fan import find_fan

FRAMES, FAN = fan_frames(3, 16, 400, 480), fan_truth(400, 480)


@pytest.mark.parametrize("ink_grey", [0, 240])
@pytest.mark.parametrize("ground", [0, 90])
def test_print_in_the_hollow_goes_whatever_its_ground(ground: int, ink_grey: int) -> None:
    frames = np.where(FAN, FRAMES, ground).astype(np.uint8)
    ink = printed(np.zeros_like(frames[:1]), "MD 3", 225, 46)[1]
    assert not (ink & FAN).any()
    frames[:, ink] = ink_grey
    found = find_fan(frames).mask
    assert not (found & ink).any()
    assert (found & FAN).sum() > 0.99 * FAN.sum()
    assert (found & ~FAN).sum() < 0.01 * FAN.sum()


def test_a_straight_probe_has_no_hollow() -> None:
    frames = np.zeros((16, 200, 300), np.uint8)
    frames[:, 20:180, 60:240] = FRAMES[:, 100:260, 150:330]
    assert find_fan(frames).mask[20:180, 60:240].mean() > 0.995


def test_lost_contact_at_one_side_of_the_face_costs_no_tissue() -> None:
    frames = FRAMES.copy()
    frames[:, :, :215] = np.where(FRAMES[:, :, :215] > 0, 3, 0)  # dark for the whole clip
    seen = FAN.copy()
    seen[:, :215] = False
    assert (find_fan(frames).mask & seen).sum() > 0.98 * seen.sum()
