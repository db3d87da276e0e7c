"""The exclusion flow as a picture in the manner of STARD.

What remains goes down the spine; what was left out stands beside it. STARD 2015 (Bossuyt et al.,
*BMJ* 351:h5527) asks for such a diagram of a study's participants.
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import shorten
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from bsou_dist.cohort.exclusions import FlowStep
from bsou_dist.report.plots import ACCENT, DPI, INK, QUIET, png


class _Column(NamedTuple):
    centre: float
    width: float


# Data units are inches.
_PAGE_WIDTH = 7.9
_MARGIN = 0.15
_SPINE = _Column(centre=1.95, width=3.6)
_SIDE = _Column(centre=5.95, width=3.6)
_SIDE_LEFT = _SIDE.centre - _SIDE.width / 2
_ROW_HEIGHT = 1.0
_BOX_HEIGHT = 0.52
_MAX_REASON_CHARACTERS = 46  # as many as fit a box


def flow_png(cohort: Sequence[FlowStep], packing: Sequence[FlowStep] = ()) -> bytes:
    """Draw a box for what was found, and for each step one for what it left out and what remains.

    Steps that left out nothing are not drawn. ``packing`` are the steps after the cohort's own.
    """
    steps = [*cohort, *packing]
    drawn = _drawn_steps(steps)
    last_of_cohort = max(number for number in drawn if number < len(cohort))
    headings = dict.fromkeys(drawn, "Remaining")
    headings[0] = "As found"
    headings[last_of_cohort] = "Cohort"
    if drawn[-1] >= len(cohort):
        headings[drawn[-1]] = "Packed"

    page_height = _ROW_HEIGHT * (len(drawn) - 1) + _BOX_HEIGHT + 2 * _MARGIN
    figure = Figure(figsize=(_PAGE_WIDTH, page_height), dpi=DPI)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(0, _PAGE_WIDTH), ylim=(0, page_height))
    axes.axis("off")
    for row, number in enumerate(drawn):
        y = page_height - _MARGIN - _BOX_HEIGHT / 2 - row * _ROW_HEIGHT
        heading = headings[number]
        colour = ACCENT if heading in ("Cohort", "Packed") else INK
        _box(axes, _SPINE, y, heading, _counts(steps[number]), colour)
        if row > 0:
            above_bottom = y + _ROW_HEIGHT - _BOX_HEIGHT / 2
            between = y + _ROW_HEIGHT / 2
            _arrow(axes, (_SPINE.centre, above_bottom), (_SPINE.centre, y + _BOX_HEIGHT / 2))
            _arrow(axes, (_SPINE.centre, between), (_SIDE_LEFT, between))
            lost = _lost(steps[number - 1], steps[number])
            reason = lost.reason[0].upper() + lost.reason[1:]
            reason = shorten(reason, _MAX_REASON_CHARACTERS)
            _box(axes, _SIDE, between, reason, _counts(lost), QUIET)
    return png(figure)


def _drawn_steps(steps: Sequence[FlowStep]) -> list[int]:
    """Numbers of the first step and of those that left clips out."""
    drawn = [0]
    for number in range(1, len(steps)):
        if steps[number].clips < steps[number - 1].clips:
            drawn.append(number)
    return drawn


def _lost(before: FlowStep, after: FlowStep) -> FlowStep:
    """How many were left out between two steps."""
    return FlowStep(
        reason=after.reason,
        patients=before.patients - after.patients,
        studies=before.studies - after.studies,
        exams=before.exams - after.exams,
        clips=before.clips - after.clips,
    )


def _counts(step: FlowStep) -> str:
    counts = {
        "patient": step.patients,
        "study": step.studies,
        "exam": step.exams,
        "clip": step.clips,
    }
    shown = {name: count for name, count in counts.items() if count or name == "clip"}
    return ", ".join(f"{count:,} {_plural(name, count)}" for name, count in shown.items())


def _plural(name: str, count: int) -> str:
    if count == 1:
        return name
    return "studies" if name == "study" else f"{name}s"


def _box(axes: Axes, column: _Column, y: float, heading: str, text: str, colour: str) -> None:
    """Draw a box around the height `y`, with a heading and a line of text."""
    frame = FancyBboxPatch(
        xy=(column.centre - column.width / 2, y - _BOX_HEIGHT / 2),
        width=column.width,
        height=_BOX_HEIGHT,
        boxstyle="round,pad=0,rounding_size=0.06",
        linewidth=1.2,
        facecolor="white",
        edgecolor=colour,
    )
    axes.add_patch(frame)
    centred: dict[str, Any] = {"ha": "center", "va": "center", "color": INK}
    axes.text(column.centre, y + 0.10, heading, fontsize=9, weight="bold", **centred)
    axes.text(column.centre, y - 0.11, text, fontsize=8, **centred)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    style = {"arrowstyle": "-|>", "color": INK, "linewidth": 1, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=end, xytext=start, arrowprops=style)
