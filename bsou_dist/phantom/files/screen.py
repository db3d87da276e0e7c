"""The whole screen of a scanner: a fan picture in its place, with print, a grey wedge and colours
around and on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Look = Literal["grey", "tinted", "doppler"]
Point = tuple[float, float]

_FONT_PX = 9  # the smallest that can be read
_INK = (230, 230, 230)
_TINT = (1.0, 0.86, 0.62)  # a common display map
_FLOWS: tuple[
    tuple[float, float, tuple[int, int, int]], ...
] = (  # across and down (share of picture), colour
    (0.44, 0.45, (220, 40, 30)),
    (0.56, 0.55, (40, 70, 225)),
)
_FLOW_RADIUS = 0.09  # share of the picture
_BEAT_FRAMES = 5.0


@dataclass(frozen=True)
class Screen:
    """``frames`` (F, H, W, 3) uint8 of even H and W; the fan picture's upper left corner (x0,
    y0).
    """

    frames: NDArray[np.uint8]
    x0: int
    y0: int


def on_screen(
    picture: NDArray[np.uint8],
    heading: str,
    lines: Sequence[str],
    *,
    look: Look = "grey",
    calipers: tuple[Point, Point] | None = None,
) -> Screen:
    """A grey clip (F, S, S) on its screen.

    Args:
        heading: printed across the top, such as name and date.
        lines: printed under it at the left, the tag first; neither touches the picture.
        look: 'tinted' colours the picture by one map, 'doppler' lays two beating flows over it.
        calipers: marked by crosses (pixels of the picture), joined by a dotted line.
    """
    size = picture.shape[1]
    font_px = max(_FONT_PX, size // 20)
    font = ImageFont.load_default(size=font_px)
    x0, y0 = 6 * font_px, round(1.6 * font_px)
    height, width = _even(y0 + size + font_px // 2), _even(x0 + size + 2 * font_px)

    still = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(still)
    draw.text((1, 1), heading, fill=_INK, font=font)
    for number, line in enumerate(lines):
        draw.text((2, y0 + 1.25 * font_px * number), line, fill=_INK, font=font)
    wedge = np.linspace(255, 0, size // 2).astype(np.uint8)
    screen = np.array(still)
    screen[y0 : y0 + size // 2, width - font_px : width - font_px // 2] = wedge[:, None, None]

    colours = np.repeat(picture[..., None], 3, axis=3)
    if look == "tinted":
        colours = (colours * np.array(_TINT)).astype(np.uint8)
    elif look == "doppler":
        colours = _with_flows(colours)
    frames = np.repeat(screen[None], len(picture), axis=0)
    frames[:, y0 : y0 + size, x0 : x0 + size] = (
        _with_calipers(colours, calipers) if calipers else colours
    )
    return Screen(frames, x0, y0)


def _even(length: int) -> int:
    return length + length % 2


def _with_flows(colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    count, size = colours.shape[:2]
    share = (np.arange(size) + 0.5) / size
    beat = 0.7 + 0.3 * np.sin(2.0 * np.pi * np.arange(count) / _BEAT_FRAMES)
    for across, down, colour in _FLOWS:
        inside = np.hypot(share - across, share[:, None] - down) < _FLOW_RADIUS
        colours[:, inside] = (beat[:, None, None] * np.array(colour)).astype(np.uint8)
    return colours


def _with_calipers(colours: NDArray[np.uint8], calipers: tuple[Point, Point]) -> NDArray[np.uint8]:
    mark = Image.new("1", colours.shape[2:0:-1])
    draw = ImageDraw.Draw(mark)
    arm = max(2, colours.shape[1] // 40)
    for x, y in calipers:
        draw.line((x - arm, y, x + arm, y), fill=1)
        draw.line((x, y - arm, x, y + arm), fill=1)
    for x, y in np.linspace(calipers[0], calipers[1], 16):
        draw.point((float(x), float(y)), fill=1)
    colours[:, np.array(mark)] = _INK  # a coloured one would be much of a small picture's colour
    return colours
