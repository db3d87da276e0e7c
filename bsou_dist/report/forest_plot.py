"""Figures by subgroup with their intervals, one below the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from bsou_dist.report.plots import ACCENT, INK, QUIET, new_figure, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW_INCHES = 0.24
_NAMES_INCHES = 2.3
_PANEL_INCHES = 2.4
_MAX_NAME = 26


@dataclass(frozen=True)
class Panel:
    """One metric by subgroup."""

    title: str
    rows: pd.DataFrame
    """Records of the metric, a row per group."""
    overall: float
    """The metric on all units, drawn as a line through the groups; NaN where there is none."""


def forest_png(panels: Sequence[Panel]) -> bytes:
    """Draw panels side by side that share their groups; units and patients stand beside the names.

    A group whose figure is not estimable has a name and no dot.
    """
    names = panels[0].rows[["subgroup", "group"]].apply(tuple, axis=1).tolist()
    heights = _heights(names)
    lowest = min(heights.values()) - 1
    figure = new_figure(
        _NAMES_INCHES + _PANEL_INCHES * len(panels), 0.7 + _ROW_INCHES * (1 - lowest)
    )
    drawn = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, panel in zip(drawn, panels, strict=True):
        _draw(axes, panel, heights)
        axes.set(title=panel.title, ylim=(lowest, 1))
        axes.title.set_fontsize(9)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.tick_params(labelsize=8)
    labels = [
        f"{_short(str(row.group))}  {row.n}/{row.n_patients}" for row in panels[0].rows.itertuples()
    ]
    headings = {subgroup: heights[(subgroup, group)] + 1 for subgroup, group in reversed(names)}
    drawn[0].set_yticks([*heights.values(), *headings.values()], [*labels, *headings])
    for text in drawn[0].get_yticklabels()[len(labels) :]:
        text.set_fontweight("bold")
    return png(figure)


def _heights(names: Sequence[tuple[str, str]]) -> dict[tuple[str, str], float]:
    """Height of each group's row, falling from 0, with a row above each subgroup for its name."""
    heights: dict[tuple[str, str], float] = {}
    row = 0
    before = None
    for subgroup, group in names:
        if subgroup != before:
            row -= 1 if before is None else 2
            before = subgroup
        else:
            row -= 1
        heights[(subgroup, group)] = float(row)
    return heights


def _draw(axes: Axes, panel: Panel, heights: dict[tuple[str, str], float]) -> None:
    if pd.notna(panel.overall):
        axes.axvline(panel.overall, color=QUIET, linewidth=1, linestyle="--")
    names = zip(panel.rows["subgroup"], panel.rows["group"], strict=True)
    figures = panel.rows[["value", "low", "high"]].to_numpy(float)
    for name, (value, low, high) in zip(names, figures, strict=True):
        height = heights[name]
        # What is NaN is not drawn.
        axes.plot([low, high], [height, height], color=INK, linewidth=1)
        axes.plot([value], [height], "o", color=ACCENT, markersize=4)


def _short(name: str) -> str:
    return name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 1]}…"
