from __future__ import annotations

import pytest

from bsou_dist.common.frame_range import FrameRange, parse_frame_range


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("140:280", FrameRange(140, 280)),
        ("0:1", FrameRange(0, 1)),
        ("700:840/840", FrameRange(700, 840, 840)),
        (" 0140 : 280 / 840 ", FrameRange(140, 280, 840)),
    ],
)
def test_a_range_reads_back(text: str, meant: FrameRange) -> None:
    assert parse_frame_range(text) == meant
    assert parse_frame_range(str(meant)) == meant


@pytest.mark.parametrize(
    "text",
    ["", "140", "140-280", "280:140", "5:5", "-1:5", "1.0:5", "700:841/840", "a:b", "1:2:3", ":5"],
)
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="the end is not included"):
        parse_frame_range(text)
