from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fan_clips import fan_frames, fan_truth, printed, write_video

from bsou_dist.prepare.fan import find_fan
from bsou_dist.sources.read_clip import read_clip

FRAMES, FAN = fan_frames(3, 16, 400, 480), fan_truth(400, 480)
LEFT = np.nonzero(FAN[150])[0][0]


def blinking(number: int) -> tuple[str, int]:
    return ("DOE MARY" if number // 2 % 2 else ""), 146


def scrolling(number: int) -> tuple[str, int]:
    return "DOE MARY", 130 + 3 * number


def running(number: int) -> tuple[str, int]:
    text = "DOE MARY 1990-01-02    "
    return (text[number:] + text[:number])[:8], 146


@pytest.mark.parametrize(
    ("show", "before_flank_px"), [(blinking, 36), (scrolling, 52), (running, 36)]
)
@pytest.mark.parametrize("is_video", [False, True])
def test_print_that_changes_beside_the_fan_is_no_fan(
    show: Callable[[int], tuple[str, int]], before_flank_px: int, is_video: bool, tmp_path: Path
) -> None:
    frames = FRAMES.copy()
    inks = []
    for number, frame in enumerate(frames):
        text, y = show(number)
        ink = printed(np.zeros_like(frames[:1]), text, LEFT - before_flank_px, y)[1] & ~FAN
        frame[ink] = 230
        inks.append(ink)
    if is_video:
        write_video(tmp_path / "clip.mp4", frames)
        frames = read_clip(tmp_path / "clip.mp4").frames[..., 0]
    found = find_fan(frames).mask
    ink = np.any(inks, axis=0)
    assert (found & ink).sum() <= 0.03 * ink.sum()
    assert (found & FAN).sum() > 0.98 * FAN.sum()
