"""The exclusion flow as a picture in the manner of STARD: what remains down the spine, what was
left out beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import shorten

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from bsou_dist.cohort.exclusions import FlowStep
from bsou_dist.report.plots import ACCENT, DPI, INK, QUIET, png

_ROW, _HEIGHT = 1.0, 0.52  # data units are inches
_SPINE, _SIDE = (1.95, 3.6), (5.95, 3.6)  # centre and width of the two columns
_WIDTH, _MARGIN = 7.9, 0.15


def flow_png(cohort: Sequence[FlowStep], packing: Sequence[FlowStep] = ()) -> bytes:
    """A box for what was found, and for each step that left clips out one for those and one for
    what remains.

    Steps that left out nothing are not drawn. ``packing`` are the steps after the cohort's own.
    """
    steps = [*cohort, *packing]
    drawn = [
        0,
        *(
            number
            for number in range(1, len(steps))
            if steps[number].clips < steps[number - 1].clips
        ),
    ]
    headings = dict.fromkeys(drawn, "Remaining") | {0: "As found"}
    headings[max(number for number in drawn if number < len(cohort))] = "Cohort"
    if drawn[-1] >= len(cohort):
        headings[drawn[-1]] = "Packed"

    height = _ROW * (len(drawn) - 1) + _HEIGHT + 2 * _MARGIN
    figure = Figure(figsize=(_WIDTH, height), dpi=DPI)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(0, _WIDTH), ylim=(0, height))
    axes.axis("off")
    for row, number in enumerate(drawn):
        y = height - _MARGIN - _HEIGHT / 2 - row * _ROW
        step, heading = steps[number], headings[number]
        _box(
            axes,
            _SPINE,
            y,
            heading,
            _counts(step),
            ACCENT if heading in ("Cohort", "Packed") else INK,
        )
        if row:
            before, between = steps[number - 1], y + _ROW / 2
            lost = FlowStep(
                step.reason,
                before.patients - step.patients,
                before.studies - step.studies,
                before.exams - step.exams,
                before.clips - step.clips,
            )
            _arrow(axes, (_SPINE[0], y + _ROW - _HEIGHT / 2), (_SPINE[0], y + _HEIGHT / 2))
            _arrow(axes, (_SPINE[0], between), (_SIDE[0] - _SIDE[1] / 2, between))
            _box(
                axes,
                _SIDE,
                between,
                shorten(step.reason[0].upper() + step.reason[1:], 46),
                _counts(lost),
                QUIET,
            )
    return png(figure)


def _counts(step: FlowStep) -> str:
    named = (
        ("patient", step.patients),
        ("study", step.studies),
        ("exam", step.exams),
        ("clip", step.clips),
    )
    return ", ".join(
        f"{count:,} {_plural(name, count)}" for name, count in named if count or name == "clip"
    )


def _plural(name: str, count: int) -> str:
    if count == 1:
        return name
    return "studies" if name == "study" else f"{name}s"


def _box(
    axes: Axes, column: tuple[float, float], y: float, heading: str, text: str, colour: str
) -> None:
    centre, width = column
    axes.add_patch(
        FancyBboxPatch(
            (centre - width / 2, y - _HEIGHT / 2),
            width,
            _HEIGHT,
            linewidth=1.2,
            boxstyle="round,pad=0,rounding_size=0.06",
            facecolor="white",
            edgecolor=colour,
        )
    )
    axes.text(
        centre, y + 0.10, heading, ha="center", va="center", fontsize=9, color=INK, weight="bold"
    )
    axes.text(centre, y - 0.11, text, ha="center", va="center", fontsize=8, color=INK)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate(
        "",
        end,
        start,
        arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 1, "shrinkA": 0, "shrinkB": 0},
    )
