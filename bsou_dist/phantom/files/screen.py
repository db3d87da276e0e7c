"""The whole screen of a scanner: a fan picture with print, a grey wedge and colours around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Look = Literal["grey", "tinted", "doppler"]
Point = tuple[float, float]

_FONT_PX = 9  # the smallest that can be read
_INK = (230, 230, 230)
_TINT = (1.0, 0.86, 0.62)  # a common display map
_FLOW_RADIUS = 0.09  # share of the picture
_BEAT_FRAMES = 5.0


class _Flow(NamedTuple):
    """A vessel's flow: place (shares of the picture) and colour by its direction."""

    across: float
    down: float
    colour: tuple[int, int, int]


_FLOWS = (_Flow(0.44, 0.45, (220, 40, 30)), _Flow(0.56, 0.55, (40, 70, 225)))


@dataclass(frozen=True)
class Screen:
    """A clip of a screen, and where on it the fan picture's upper left corner is."""

    frames: NDArray[np.uint8]
    """(F, H, W, 3), with even H and W."""
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
    """Put a grey clip (F, S, S) on its screen.

    Args:
        heading: printed across the top, such as name and date.
        lines: printed under it at the left, the tag first; neither touches the picture.
        look: 'tinted' colours the picture by one map, 'doppler' lays two beating flows over it.
        calipers: marked by crosses (pixels of the picture), joined by a dotted line.
    """
    size = picture.shape[1]
    font_px = max(_FONT_PX, size // 20)
    font = ImageFont.load_default(size=font_px)
    x0 = 6 * font_px
    y0 = round(1.6 * font_px)
    height = _even(y0 + size + font_px // 2)
    width = _even(x0 + size + 2 * font_px)

    still = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(still)
    draw.text((1, 1), heading, fill=_INK, font=font)
    for number, line in enumerate(lines):
        draw.text((2, y0 + 1.25 * font_px * number), line, fill=_INK, font=font)
    screen = np.array(still)
    wedge = np.linspace(255, 0, size // 2).astype(np.uint8)
    wedge_left = width - font_px
    wedge_right = width - font_px // 2
    screen[y0 : y0 + size // 2, wedge_left:wedge_right] = wedge[:, None, None]

    colours = np.repeat(picture[..., None], 3, axis=3)
    if look == "tinted":
        colours = (colours * np.array(_TINT)).astype(np.uint8)
    elif look == "doppler":
        _add_flows(colours)
    if calipers:
        _add_calipers(colours, calipers)
    frames = np.repeat(screen[None], len(picture), axis=0)
    frames[:, y0 : y0 + size, x0 : x0 + size] = colours
    return Screen(frames, x0, y0)


def _even(length: int) -> int:
    return length + length % 2


def _add_flows(colours: NDArray[np.uint8]) -> None:
    count, size = colours.shape[:2]
    share = (np.arange(size) + 0.5) / size
    beat = 0.7 + 0.3 * np.sin(2.0 * np.pi * np.arange(count) / _BEAT_FRAMES)
    for flow in _FLOWS:
        distance = np.hypot(share - flow.across, share[:, None] - flow.down)
        colour = beat[:, None, None] * np.array(flow.colour)
        colours[:, distance < _FLOW_RADIUS] = colour.astype(np.uint8)


def _add_calipers(colours: NDArray[np.uint8], calipers: tuple[Point, Point]) -> None:
    _, height, width, _ = colours.shape
    mark = Image.new("1", (width, height))
    draw = ImageDraw.Draw(mark)
    arm = max(2, height // 40)
    for x, y in calipers:
        draw.line((x - arm, y, x + arm, y), fill=1)
        draw.line((x, y - arm, x, y + arm), fill=1)
    for x, y in np.linspace(calipers[0], calipers[1], 16):
        draw.point((float(x), float(y)), fill=1)
    colours[:, np.array(mark)] = _INK  # a coloured one would be much of a small picture's colour
