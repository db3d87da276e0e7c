"""Print told by positive proof, wherever it stands: rows of glyphs, and calipers.

Print has what anatomy has not. Glyphs stand in a row, on one line and of like height; their strokes
are thin, of even width and even grey, with hard edges; the tissue moves under them, or they stand
in the dark. A caliper is a cross of even strokes, the same in every frame under moving tissue. What
lacks any of this stays: a cord's section in fluid is bright, small and apart too.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

EIGHT_NEIGHBOURS = np.ones((3, 3), np.bool_)
"""Makes pixels that touch by a corner one part, as strokes of print often do."""

_STILL_CHANGE = 16  # grey levels over the whole clip; lossy codecs make print flicker by less
_BRIGHT_LEVELS = (40, 80, 120)
"""Grey levels: dimmer print cannot be told from noise, and a haze joins letters at the lower."""

_DARK_LEVELS = (24, 60)  # grey levels; print that is to be read over tissue is darker

_LEAST_DARK = 0.002  # of an area; print that changes is seen in the dark alone
_MIN_GLYPH_PX = 5  # no font can be read that is smaller
_MAX_GLYPH_SHARE = 0.12  # height, of the picture's
_FEWEST_INK_PX = 3 * _MIN_GLYPH_PX  # three strokes of one pixel
_MAX_PARTS = 20_000  # more than any screen has letters; speckle alone
_LIKE_HEIGHT = 0.6  # of the taller of two: small letters beside capitals
_WIDEST_GLYPH = 1.7  # times its height
# Letters that touch make one part, of at least so many strokes per height of its width. A line that
# some tissue draws has one.
_WIDEST_JOINED = 8.0
_STROKES_OF_JOINED = 1.1
_WIDEST_GAP = 1.0  # times the height of the glyph before it
_LINE_SLACK = 0.16  # of the height, between the lines that two glyphs stand on
_THICKEST_STROKE = 0.34  # of the height
_THIN_PX = 2.0  # however low the letters are
_THIN_JOINED_PX = 3.0  # where letters may join, softened edges are part of a stroke
# Strokes that a line through a letter crosses, along its rows or columns: I, L and T have one, most
# others more. A spot of speckle has one, so a row needs letters that have more.
_COMPLEX = 1.3
_FEWEST_COMPLEX = 2
_REST_OF_LINE = 3.0  # times the height that a proven row may go on at either end
_SLANT = 1.2  # a slanted outline is shorter than the sides of its pixels
_INK_QUANTILE = 0.8  # of a glyph's greys: its ink, without softened edges
_LIKE_GREY = 0.16  # of the brighter of two glyphs
_FEWEST_GLYPHS = 3
_HARD_EDGE = 0.45  # of a glyph's grey: what is left of it around the row
_AROUND_PX = 3  # where that is looked for
_MARGIN_PX = 2  # around print, for its anti-aliased and compressed edges

_CROSS_PX = (5, 41)  # smallest and largest height and width of a caliper
_CROSS_SHARE = 0.85  # of a cross that is drawn, and of what is drawn that is a cross
_DOTS_FROM_LINE_PX = 2.0


class _Box(NamedTuple):
    """A part of a picture in pixels; `y1` and `x1` are exclusive."""

    y0: int
    x0: int
    y1: int
    x1: int

    @classmethod
    def around(cls, row: list[_Glyph]) -> _Box:
        """The box around a row of glyphs."""
        return cls(
            y0=min(glyph.y0 for glyph in row),
            x0=min(glyph.x0 for glyph in row),
            y1=max(glyph.y1 for glyph in row),
            x1=max(glyph.x1 for glyph in row),
        )


@dataclass(frozen=True)
class _Glyph:
    """A part of a picture that may be a letter; `y1` and `x1` are exclusive."""

    y0: int
    x0: int
    y1: int
    x1: int
    grey: float
    letters: int = 1
    is_complex: bool = False

    @property
    def height(self) -> int:
        return self.y1 - self.y0

    def precedes(self, other: _Glyph) -> bool:
        """Whether the other can be the next letter of the same line."""
        taller = max(self.height, other.height)
        slack_px = max(1.0, _LINE_SLACK * taller)
        return (
            min(self.height, other.height) >= _LIKE_HEIGHT * taller
            and abs(self.y1 - other.y1) <= slack_px
            and 0 <= other.x0 - self.x1 <= _WIDEST_GAP * taller
            and abs(self.grey - other.grey) <= _LIKE_GREY * max(self.grey, other.grey)
        )


def proven_print(
    darkest: NDArray[np.uint8],
    brightest: NDArray[np.uint8],
    area: NDArray[np.bool_],
    moving: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Mask of print in an area of a clip, (H, W).

    Still print stands out of the darkest picture, since moving tissue is dark there at some time.
    Print that changes stands out of the brightest one where it stands in the dark.

    Args:
        darkest: minimum of each pixel over time, (H, W).
        brightest: its maximum, (H, W).
        area: where to look, (H, W).
        moving: pixels that keep changing, (H, W).
    """
    found = np.zeros_like(area)
    box = _box_of(area)
    found[box] = _print_in(darkest[box], brightest[box], area[box], moving[box])
    return found


def _print_in(
    darkest: NDArray[np.uint8],
    brightest: NDArray[np.uint8],
    area: NDArray[np.bool_],
    moving: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    found = _rows_in_the_dark(darkest * area, may_join=False)
    dark_px = np.count_nonzero(area & (brightest < _BRIGHT_LEVELS[-1]))
    if dark_px >= _LEAST_DARK * np.count_nonzero(area):
        found |= _rows_in_the_dark(brightest * area, may_join=False)
    still = area & (brightest - darkest < _STILL_CHANGE)
    bright = still & (darkest >= _BRIGHT_LEVELS[0])
    if bright.any():
        found |= _rows_of_glyphs(bright, darkest * bright)
        found |= _calipers(bright, moving)
    for level in _DARK_LEVELS:
        dark = area & (brightest <= level)
        found |= _rows_of_glyphs(dark, (255 - brightest) * dark)
    if found.any():
        found = ndimage.maximum_filter(found, 2 * _MARGIN_PX + 1)
    return found


def _box_of(area: NDArray[np.bool_]) -> tuple[slice, slice]:
    """The part of a picture that an area lies in."""
    rows = np.flatnonzero(area.any(axis=1))
    columns = np.flatnonzero(area.any(axis=0))
    if not rows.size:
        return np.s_[:0, :0]
    return np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def has_rows_of_glyphs(picture: NDArray[np.uint8]) -> bool:
    """Whether bright rows of glyphs stand in the dark of a single picture (H, W)."""
    return bool(_rows_in_the_dark(picture, may_join=True).any())


def _rows_in_the_dark(picture: NDArray[np.uint8], *, may_join: bool) -> NDArray[np.bool_]:
    found = np.zeros(picture.shape, np.bool_)
    for level in _BRIGHT_LEVELS:
        drawn = picture >= level
        found |= _rows_of_glyphs(drawn, picture, may_join=may_join)
    return found


def _rows_of_glyphs(
    drawn: NDArray[np.bool_], picture: NDArray[np.uint8], *, may_join: bool = False
) -> NDArray[np.bool_]:
    """Boxes around the rows of glyphs among the parts of a drawing, as a mask (H, W).

    Args:
        drawn: what may be strokes, (H, W).
        picture: grey levels, bright where there is ink, (H, W).
        may_join: take letters that touch for letters too; some anatomy looks like them.
    """
    found = np.zeros_like(drawn)
    drawn_px = np.count_nonzero(drawn)
    if drawn_px < _FEWEST_INK_PX:  # telling parts takes time
        return found
    parts, count = ndimage.label(drawn, EIGHT_NEIGHBOURS)
    if count > _MAX_PARTS:
        return found
    places = ndimage.find_objects(parts)
    glyphs = _glyphs(parts, places, picture, may_join)
    for row in _rows(glyphs):
        box = _Box.around(row)
        if _has_hard_edges(row, picture, box):
            box = _with_rest_of_line(box, places)
            found[box.y0 : box.y1, box.x0 : box.x1] = True
    return found


def _with_rest_of_line(box: _Box, places: list[tuple[slice, slice]]) -> _Box:
    """A row's box, grown over what stands in its line: digits that change make a blot.

    A row that is proven needs no further proof of what belongs to it.
    """
    height = box.y1 - box.y0
    farthest_left = box.x0 - _REST_OF_LINE * height
    farthest_right = box.x1 + _REST_OF_LINE * height
    grows = True
    while grows:
        grows = False
        for rows, columns in places:
            is_in_line = rows.start >= box.y0 - 0.3 * height and rows.stop <= box.y1 + 0.3 * height
            gap_px = max(columns.start - box.x1, box.x0 - columns.stop)
            is_beyond = columns.start < box.x0 or columns.stop > box.x1
            is_near = columns.start >= farthest_left and columns.stop <= farthest_right
            if is_in_line and gap_px <= height and is_beyond and is_near:
                box = _Box(box.y0, min(box.x0, columns.start), box.y1, max(box.x1, columns.stop))
                grows = True
    return box


def _glyphs(
    parts: NDArray[np.int32],
    places: list[tuple[slice, slice]],
    picture: NDArray[np.uint8],
    may_join: bool,
) -> list[_Glyph]:
    """The parts that have a letter's size, thin strokes and one grey, from left to right."""
    tallest_px = max(_MIN_GLYPH_PX, _MAX_GLYPH_SHARE * parts.shape[0])
    widest = _WIDEST_JOINED if may_join else _WIDEST_GLYPH  # times the height
    thin_px = _THIN_JOINED_PX if may_join else _THIN_PX
    glyphs = []
    for number, (rows, columns) in enumerate(places, start=1):
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if not _MIN_GLYPH_PX <= height <= tallest_px or width > widest * height:
            continue
        part = parts[rows, columns] == number
        if _stroke_px(part) > max(thin_px, _THICKEST_STROKE * height):
            continue
        letters = 1
        strokes = _strokes_across(part)
        if width > _WIDEST_GLYPH * height:
            if strokes < _STROKES_OF_JOINED * width / height:
                continue
            letters = round(width / height)
        is_complex = max(strokes, _strokes_across(part.T)) >= _COMPLEX
        greys = np.sort(picture[rows, columns][part])
        grey = float(greys[int(_INK_QUANTILE * len(greys))])
        place = _Box(rows.start, columns.start, rows.stop, columns.stop)
        glyphs.append(_Glyph(*place, grey, letters, is_complex))
    glyphs.sort(key=lambda glyph: glyph.x0)
    return glyphs


def _stroke_px(part: NDArray[np.bool_]) -> float:
    """Width of the strokes of a part: its area over half the length of its outline."""
    inner_px = np.count_nonzero(part[1:] & part[:-1])
    inner_px += np.count_nonzero(part[:, 1:] & part[:, :-1])
    area_px = np.count_nonzero(part)
    outline_px = 4 * area_px - 2 * inner_px  # sides of pixels that no neighbour shares
    return _SLANT * 2 * area_px / outline_px


def _strokes_across(part: NDArray[np.bool_]) -> float:
    """How many strokes a line through a part crosses, the mean over its rows."""
    begins = np.count_nonzero(part[:, 1:] & ~part[:, :-1]) + np.count_nonzero(part[:, 0])
    return begins / len(part)


def _rows(glyphs: list[_Glyph]) -> list[list[_Glyph]]:
    """Lines of letters: each letter is joined to the nearest that can follow it."""
    rows = []
    left = list(glyphs)
    while left:
        row = [left.pop(0)]
        for glyph in list(left):
            if glyph.x0 - row[-1].x1 > _WIDEST_GAP * row[-1].height:
                break
            if row[-1].precedes(glyph):
                row.append(glyph)
                left.remove(glyph)
        letters = sum(glyph.letters for glyph in row)
        complex_letters = sum(glyph.letters for glyph in row if glyph.is_complex)
        if letters >= _FEWEST_GLYPHS and complex_letters >= _FEWEST_COMPLEX:
            rows.append(row)
    return rows


def _has_hard_edges(row: list[_Glyph], picture: NDArray[np.uint8], box: _Box) -> bool:
    """Whether it is dark above and below a row."""
    above = picture[max(0, box.y0 - _AROUND_PX) : max(0, box.y0 - 1), box.x0 : box.x1]
    below = picture[box.y1 + 1 : box.y1 + _AROUND_PX, box.x0 : box.x1]
    around = np.concatenate([above.ravel(), below.ravel()])
    if not around.size:
        return True
    grey = min(glyph.grey for glyph in row)
    return float(np.percentile(around, 90)) <= _HARD_EDGE * grey


def _calipers(drawn: NDArray[np.bool_], moving: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Crosses under which tissue moves, and the dots on the lines between them."""
    found = np.zeros_like(drawn)
    parts, count = ndimage.label(drawn, EIGHT_NEIGHBOURS)
    if count > _MAX_PARTS:
        return found
    least_px, most_px = _CROSS_PX
    middles = []
    for number, place in enumerate(ndimage.find_objects(parts), start=1):
        rows, columns = place
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if not least_px <= height <= most_px or abs(height - width) > 0.25 * height:
            continue
        part = parts[place] == number
        around = moving[
            max(0, rows.start - 2) : rows.stop + 2, max(0, columns.start - 2) : columns.stop + 2
        ]
        if _is_cross(part) and np.count_nonzero(around) >= 0.3 * around.size:
            found[place] |= part
            middles.append(
                ((rows.start + rows.stop - 1) / 2, (columns.start + columns.stop - 1) / 2)
            )
    if len(middles) > 1:
        y, x = np.nonzero(drawn)
        for (y0, x0), (y1, x1) in combinations(middles[:16], 2):
            length = max(1.0, np.hypot(y1 - y0, x1 - x0))
            along = ((y - y0) * (y1 - y0) + (x - x0) * (x1 - x0)) / length
            aside = np.abs((y - y0) * (x1 - x0) - (x - x0) * (y1 - y0)) / length
            on_line = (aside <= _DOTS_FROM_LINE_PX) & (along > 0) & (along < length)
            found[y[on_line], x[on_line]] = True
    return found


def _is_cross(part: NDArray[np.bool_]) -> bool:
    """Whether a part is a plus or an x of even strokes."""
    height, width = part.shape
    y, x = np.indices(part.shape, np.float32)
    y = y - (height - 1) / 2
    x = (x - (width - 1) / 2) * ((height - 1) / max(1, width - 1))
    drawn_px = np.count_nonzero(part)
    half_stroke_px = max(0.5, 0.08 * height)
    for away in (np.minimum(np.abs(y), np.abs(x)), np.abs(np.abs(y) - np.abs(x)) / np.sqrt(2)):
        core = away <= 0.5
        cross = away <= 2 * half_stroke_px
        drawn_of_cross = np.count_nonzero(part & core) / np.count_nonzero(core)
        cross_of_drawn = np.count_nonzero(part & cross) / drawn_px
        if min(drawn_of_cross, cross_of_drawn) >= _CROSS_SHARE:
            return True
    return False
