"""Figures of a report, as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

INK = "#1f2933"
ACCENT = "#2b6cb0"
QUIET = "#9aa5b1"
DPI = 144


def confusion_png(matrix: np.ndarray, classes: Sequence[str]) -> bytes:
    """Counts (rows: label, columns: prediction), shaded by their share of the row."""
    size = len(classes) * (0.8 if len(classes) < 4 else 0.48)  # inches
    label_width = 0.08 * max(map(len, classes))
    figure = Figure(figsize=(size + label_width + 0.6, size + 0.9), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*matrix.shape):
        axes.text(
            column,
            row,
            f"{matrix[row, column]}",
            ha="center",
            va="center",
            color="white" if share[row, column] > 0.55 else INK,
        )
    axes.set_xticks(range(len(classes)), classes, rotation=15 if max(map(len, classes)) > 8 else 0)
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("label")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return png(figure)


def regression_png(label: np.ndarray, prediction: np.ndarray, unit: str) -> bytes:
    """Left: prediction against label with the identity line. Right: error against the mean of both
    (Bland and Altman) with the bias and the 95 % limits of agreement, bias +- 1.96 standard
    deviations.
    """
    figure = Figure(figsize=(7.6, 3.5), dpi=DPI, layout="constrained")
    left, right = figure.subplots(1, 2)
    low, high = min(label.min(), prediction.min()), max(label.max(), prediction.max())
    margin = 0.04 * (high - low) or 1.0
    ends = [low - margin, high + margin]
    left.plot(ends, ends, color=QUIET, linewidth=1)
    left.scatter(label, prediction, s=12, color=ACCENT, alpha=0.6, linewidths=0)
    left.set(
        xlim=ends,
        ylim=ends,
        aspect="equal",
        xlabel=f"label ({unit})",
        ylabel=f"prediction ({unit})",
    )

    error = prediction - label
    bias, spread = error.mean(), 1.96 * error.std()
    right.scatter((label + prediction) / 2, error, s=12, color=ACCENT, alpha=0.6, linewidths=0)
    for height, style, text in (
        (bias, "-", f"bias {bias:.2f}"),
        (bias - spread, "--", f"{bias - spread:.1f}"),
        (bias + spread, "--", f"{bias + spread:.1f}"),
    ):
        right.axhline(height, color=INK, linewidth=1, linestyle=style)
        right.annotate(
            text,
            (1, height),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=INK,
        )
    right.set(xlabel=f"mean of label and prediction ({unit})", ylabel=f"error ({unit})")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return png(figure)


def png(figure: Figure) -> bytes:
    """A figure as PNG bytes that depend on nothing but the figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
