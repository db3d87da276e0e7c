"""Figures of a report, as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bsou_dist.evaluation.calibration import CurvePoint
from bsou_dist.evaluation.scales import wilson

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#1f2933"
ACCENT = "#2b6cb0"
QUIET = "#9aa5b1"
DPI = 144
_DOTS: dict[str, Any] = {"s": 12, "color": ACCENT, "alpha": 0.6, "linewidths": 0}


def confusion_png(matrix: np.ndarray, classes: Sequence[str]) -> bytes:
    """Counts (rows: label, columns: prediction), shaded by their share of the row."""
    longest_name = max(map(len, classes))
    cell_inches = 0.8 if len(classes) < 4 else 0.48
    matrix_inches = len(classes) * cell_inches
    names_inches = 0.08 * longest_name
    figsize = (matrix_inches + names_inches + 0.6, matrix_inches + 0.9)
    figure = new_figure(*figsize)
    axes = figure.subplots()
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*matrix.shape):
        count = f"{matrix[row, column]}"
        colour = "white" if share[row, column] > 0.55 else INK  # to be read on dark blue
        axes.text(column, row, count, ha="center", va="center", color=colour)
    axes.set_xticks(range(len(classes)), classes, rotation=15 if longest_name > 8 else 0)
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("label")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return png(figure)


def regression_png(label: np.ndarray, prediction: np.ndarray, unit: str) -> bytes:
    """Predictions against labels, and their errors against the mean of both (Bland and Altman).

    The left figure has the line of identity; the right one the bias and the 95 % limits of
    agreement, bias +- 1.96 standard deviations.
    """
    figure = new_figure(7.6, 3.5)
    scatter, agreement = figure.subplots(1, 2)
    _draw_scatter(scatter, label, prediction)
    scatter.set(xlabel=f"label ({unit})", ylabel=f"prediction ({unit})")
    _draw_agreement(agreement, label, prediction)
    agreement.set(xlabel=f"mean of label and prediction ({unit})", ylabel=f"error ({unit})")
    for axes in (scatter, agreement):
        axes.spines[["top", "right"]].set_visible(False)
    return png(figure)


def calibration_png(points: Sequence[CurvePoint], probabilities: np.ndarray, of_what: str) -> bytes:
    """Predicted against observed shares with 95 % intervals, and how probabilities are spread.

    Args:
        points: groups of units of similar probability.
        probabilities: of all units, (n,).
        of_what: the class, or what else the probabilities are of.
    """
    figure = new_figure(3.4, 4.2)
    axes, spread = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1)
    for point in points:
        low, high = wilson(point.observed, point.n)
        axes.plot([point.predicted] * 2, [low, high], color=INK, linewidth=1)
    predicted = [point.predicted for point in points]
    axes.plot(predicted, [point.observed for point in points], "o-", color=ACCENT, markersize=4)
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", ylabel=f"share that are {of_what}")
    spread.hist(probabilities, bins=20, range=(0, 1), color=QUIET)
    spread.set(xlabel=f"probability of {of_what}", ylabel="count")
    for part in (axes, spread):
        part.spines[["top", "right"]].set_visible(False)
    return png(figure)


def _draw_scatter(axes: Axes, label: np.ndarray, prediction: np.ndarray) -> None:
    low = min(label.min(), prediction.min())
    high = max(label.max(), prediction.max())
    margin = 0.04 * (high - low) or 1.0
    ends = [low - margin, high + margin]
    axes.plot(ends, ends, color=QUIET, linewidth=1)
    axes.scatter(label, prediction, **_DOTS)
    axes.set(xlim=ends, ylim=ends, aspect="equal")


def _draw_agreement(axes: Axes, label: np.ndarray, prediction: np.ndarray) -> None:
    error = prediction - label
    bias = error.mean()
    spread = 1.96 * error.std()
    axes.scatter((label + prediction) / 2, error, **_DOTS)
    _draw_level(axes, bias, f"bias {bias:.2f}", "-")
    _draw_level(axes, bias - spread, f"{bias - spread:.1f}", "--")
    _draw_level(axes, bias + spread, f"{bias + spread:.1f}", "--")


def _draw_level(axes: Axes, height: float, text: str, linestyle: str) -> None:
    """A horizontal line with text at its right end, outside of the axes."""
    axes.axhline(height, color=INK, linewidth=1, linestyle=linestyle)
    axes.annotate(
        text,
        xy=(1, height),
        xycoords=("axes fraction", "data"),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
        color=INK,
    )


def new_figure(width_inches: float, height_inches: float) -> Figure:
    """An empty figure whose parts keep out of each other's way."""
    from matplotlib.figure import Figure  # most of a second, and only the first process draws

    return Figure(figsize=(width_inches, height_inches), dpi=DPI, layout="constrained")


def png(figure: Figure) -> bytes:
    """A figure as PNG bytes that depend on nothing but the figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
