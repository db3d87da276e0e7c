"""A scanner's whole screen: print beside the picture, and colours in it."""

from __future__ import annotations

import numpy as np
import pytest
from fan_clips import fan_frames

from bsou_dist.phantom.files.screen import Look, on_screen
from bsou_dist.prepare.prepare_clip import PrepareConfig, RejectedClip, prepare
from bsou_dist.sources.raw_clip import RawClip

CONFIG = PrepareConfig(size_px=48)


def on_screen_as_read(look: Look) -> RawClip:
    screen = on_screen(
        fan_frames(count=8, height=96, width=96), "Phantom^Patient", ["M"], look=look
    )
    return RawClip(screen.frames, "video", 8, mm_per_px=1.5)


def test_print_stands_beside_the_picture() -> None:
    picture = np.full((2, 96, 96), 77, np.uint8)
    screen = on_screen(picture, "Phantom^Patient 2020-01-01", ["CEPHALIC", "ANT PLAC"])
    box = screen.frames[:, screen.y0 : screen.y0 + 96, screen.x0 : screen.x0 + 96]
    np.testing.assert_array_equal(box, np.repeat(picture[..., None], 3, axis=3))
    left = screen.frames[:, screen.y0 :, : screen.x0].max(axis=(0, 2, 3))
    assert (left[:25] > 200).any()
    assert not left[30:].any()
    bare = on_screen(picture, "", [])
    assert not bare.frames[:, :, : bare.x0].any()
    assert [length % 2 for length in screen.frames.shape[1:3]] == [0, 0]


def test_flows_are_taken_for_doppler_and_a_tint_is_not() -> None:
    with pytest.raises(RejectedClip, match="colour Doppler"):
        prepare(on_screen_as_read("doppler"), CONFIG)
    tinted = on_screen_as_read("tinted")
    bright = tinted.frames[:, 20:, 54:150].max(axis=3) > 100
    reds, blues = (tinted.frames[:, 20:, 54:150, channel][bright] for channel in (0, 2))
    assert (reds > 1.2 * blues).mean() > 0.9
    np.testing.assert_allclose(
        prepare(tinted, CONFIG).frames.mean(),
        prepare(on_screen_as_read("grey"), CONFIG).frames.mean(),
        rtol=0.2,
    )


def test_calipers_are_marked() -> None:
    picture = np.zeros((2, 64, 64), np.uint8)
    screen = on_screen(picture, "", [], calipers=((10.0, 20.0), (50.0, 20.0)))
    box = screen.frames[:, screen.y0 : screen.y0 + 64, screen.x0 : screen.x0 + 64, 0]
    assert (box[:, 20, [10, 50]] > 200).all()
    assert (box[:, 18, [10, 50]] > 200).all()
    assert not box[:, 30:].any()
