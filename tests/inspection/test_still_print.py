from __future__ import annotations

import numpy as np
import pytest
from fan_clips import fan_frames, printed, printed_over

from bsou_dist.inspection.still_print import stillness

WIDTH, HEIGHT = 240, 200


@pytest.mark.parametrize("opacity", [1.0, 0.6])
def test_print_over_tissue_stands_out(opacity: float) -> None:
    frames = fan_frames(3, 16, HEIGHT, WIDTH)
    assert stillness(frames).suspects == ()
    look = stillness(printed_over(frames, "ERIKA", opacity))
    first = look.suspects[0]
    assert 96 <= first.y0 < first.y1 <= 118
    assert 86 <= first.x0 < first.x1 <= 130
    assert look.residue[first.y0 : first.y1, first.x0 : first.x1].max() == 255


def test_dark_print_stands_out_too() -> None:
    frames = np.maximum(fan_frames(3, 16, HEIGHT, WIDTH), 90)
    _, ink = printed(np.zeros_like(frames), "ERIKA", 90, 100)
    frames[:, ink] = 5
    look = stillness(frames)
    assert 95 <= look.suspects[0].y0 <= 112
    assert look.residue[ink].mean() > 120


def test_what_comes_and_goes_is_not_still() -> None:
    frames = fan_frames(3, 16, HEIGHT, WIDTH)
    frames[:4] = printed_over(frames[:4], "ERIKA")
    assert stillness(frames).suspects == ()


@pytest.mark.parametrize(
    "texts",
    [
        ["DOE 12:31"] * 8 + [""] * 8,
        [""] * 15 + ["DOE 12:31"],
        [f"13:05:{second:02}" for second in range(3, 67, 4)],
    ],
    ids=["in the first half", "in one frame", "a clock"],
)
def test_print_apart_from_the_tissue_is_boxed_whenever_it_shows(texts: list[str]) -> None:
    clean = fan_frames(3, 16, HEIGHT, WIDTH)
    shown = [printed(frame[None], text, 6, 5) for frame, text in zip(clean, texts, strict=True)]
    frames = np.concatenate([frame for frame, _ in shown])
    outside_boxes = np.any([ink for _, ink in shown], axis=0)
    for box in stillness(frames).suspects:
        assert box.y1 <= 20  # and nothing else
        outside_boxes[box.y0 : box.y1, box.x0 : box.x1] = False
    assert not outside_boxes.any()


def test_a_page_is_counted_and_shown() -> None:
    frames = fan_frames(3, 16, HEIGHT, WIDTH)
    assert stillness(frames).odd_frames == 0
    page, _ = printed(np.zeros_like(frames[:1]), "PATIENT ERIKA", 70, 90)
    frames[5] = page[0]
    look = stillness(frames)
    assert look.odd_frames == 1
    np.testing.assert_array_equal(look.unlike, page[0])
    assert look.weight > stillness(printed_over(fan_frames(3, 16, HEIGHT, WIDTH), "ERIKA")).weight
