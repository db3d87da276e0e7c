from __future__ import annotations

import pytest

from bsou_dist.sources.raw_clip import (
    UnreadableClip,
    even_in_time,
    even_indices,
    refuse_impossible,
)


def test_times_that_say_nothing_are_not_followed() -> None:
    steady = [index / 30 for index in range(100)]
    rounded = [round(time, 2) for time in steady]
    assert even_in_time(steady, 7) == even_in_time(rounded, 7) == even_indices(100, 7)
    for useless in ([float("nan"), *steady[1:]], [0.0] * 100, [*steady[:99], 1e6]):
        assert even_in_time(useless, 7) == even_indices(100, 7)
    assert even_in_time(steady, None) == list(range(100))
    assert even_in_time(steady[:2], 5) == [0, 1]


@pytest.mark.parametrize(
    ("count", "height", "width"), [(0, 8, 8), (1, 0, 8), (1, 8, -1), (1, 8, 1 << 15)]
)
def test_sizes_that_no_picture_has_are_refused(count: int, height: int, width: int) -> None:
    refuse_impossible(1, 8, 8, 0, 1)
    with pytest.raises(UnreadableClip, match="its header claims"):
        refuse_impossible(count, height, width, 0, 1)


def test_what_is_too_short_says_how_much_may_be_there() -> None:
    refuse_impossible(12, 8, 8, 768, 768)
    with pytest.raises(UnreadableClip, match="claims 12 frames of 8 by 8 pixels, and at most 11 "):
        refuse_impossible(12, 8, 8, 768, 767)
