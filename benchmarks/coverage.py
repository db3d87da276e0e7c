"""How often 95 % intervals hold the truth, by simulation: docs/evaluation.md's table.

Each cell draws patients anew, and asks the evaluation's own functions for the interval of a figure
whose true value is known. Three designs: one unit per patient; six units of a patient whose label
they share (the fetus lies one way); six units with labels of their own. Errors and scores of one
patient correlate. A cell is marked not estimable where the evaluation gives no interval in more
than half of its replicates; coverage is that of the intervals given.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/coverage.py

Writes results/coverage.json, results/coverage.md and results/coverage.png.
"""

from __future__ import annotations

import argparse
import json
import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib
import numpy as np
from scipy.special import ndtr, ndtri

from bsou_dist.common.files import write_text
from bsou_dist.evaluation import metrics
from bsou_dist.evaluation.figures import Area, Deviation, Figure, Mean, Share, Weighted
from bsou_dist.evaluation.intervals import Interval, difference_of, interval_of
from bsou_dist.evaluation.metrics import Scored

matplotlib.use("Agg")
from matplotlib import pyplot as plt

RESULTS = Path(__file__).parent / "results"
PATIENTS = (20, 50, 150)
PREVALENCES = (0.5, 0.12, 0.02)
UNITS_EACH = 6
CORRELATION = 0.3
"""Of errors, and of what makes an answer right, between units of one patient."""
AREA, SENSITIVITY, SPECIFICITY = 0.85, 0.8, 0.9
AREA_OF_RIVAL = 0.8
DIFFERENCE_OF_SHARES = 0.06
CORRELATION_OF_METHODS = 0.5
SPREAD_OF_RIVAL = 1.2
BIAS = 0.3
ESTIMABLE_SHARE = 0.5
LOWEST, HIGHEST = 0.93, 0.97

MEAN_OF_FOLDED = math.sqrt(2 / math.pi)
SPREAD_OF_FOLDED = math.sqrt(1 - 2 / math.pi)


@dataclass(frozen=True)
class Design:
    """How patients and units lie."""

    name: str
    units_each: int
    label_of_patient: bool


DESIGNS = (
    Design("one unit each", 1, True),
    Design("six units, one label", UNITS_EACH, True),
    Design("six units, own labels", UNITS_EACH, False),
)


class Sample:
    """Patients and units of one replicate, with noise that correlates within patients."""

    def __init__(self, rng: np.random.Generator, patients: int, design: Design) -> None:
        self._rng = rng
        self._count = patients
        self._design = design
        self.patient = np.repeat(np.arange(patients), design.units_each)

    def noise(self) -> np.ndarray:
        """Standard normal, (n,), correlated between units of one patient."""
        own = self._rng.normal(size=len(self.patient))
        if self._design.units_each == 1:
            return own
        of_patient = self._rng.normal(size=self._count)[self.patient]
        return math.sqrt(CORRELATION) * of_patient + math.sqrt(1 - CORRELATION) * own

    def rival_noise(self, noise: np.ndarray) -> np.ndarray:
        """Noise of another method, correlated with that of the first on the same units."""
        rest = math.sqrt(1 - CORRELATION_OF_METHODS**2)
        return CORRELATION_OF_METHODS * noise + rest * self.noise()

    def is_positive(self, prevalence: float) -> np.ndarray:
        """Labels, bool (n,)."""
        if self._design.label_of_patient:
            return (self._rng.uniform(size=self._count) < prevalence)[self.patient]
        return self._rng.uniform(size=len(self.patient)) < prevalence


@dataclass(frozen=True)
class Case:
    """A figure to simulate: one replicate's interval, and the truth."""

    name: str
    draw: Callable[[Sample, float], Interval]
    truth: Callable[[float], float]
    by_prevalence: bool = True


def errors(values: np.ndarray) -> Scored:
    """Errors as predictions of 0."""
    return Scored(np.zeros(len(values)), values)


def classes(label: np.ndarray, score: np.ndarray, threshold: float) -> Scored:
    """Two classes by a score."""
    chance = ndtr(score)
    probabilities = np.stack([1 - chance, chance], axis=1)
    return Scored(label.astype(float), (score > threshold).astype(float), probabilities)


def is_found(scored: Scored) -> np.ndarray:
    """1 or 0 for each positive, NaN for the others."""
    return np.where(scored.label == 1, scored.prediction == 1, np.nan)


ACCURACY = Share(metrics.is_right)
MACRO_F1 = Weighted(metrics.macro_f1, metrics.macro_f1_independent_n, by_class=True)
MAE = Mean(metrics.absolute_error, positive=True)


def _answers(sample: Sample, prevalence: float) -> tuple[Scored, Scored]:
    """Right and wrong answers of two methods; the first is wrong with the prevalence's share."""
    noise = sample.noise()
    rival_share = min(0.98, prevalence + DIFFERENCE_OF_SHARES)
    first = noise < ndtri(prevalence)
    second = sample.rival_noise(noise) < ndtri(rival_share)
    return errors(first.astype(float)), errors(second.astype(float))


def _accuracy(sample: Sample, prevalence: float) -> Interval:
    return interval_of(ACCURACY, [_answers(sample, prevalence)[0]], sample.patient)


def _accuracy_difference(sample: Sample, prevalence: float) -> Interval:
    first, second = _answers(sample, prevalence)
    return difference_of(ACCURACY, [first], [second], sample.patient)


def _area(sample: Sample, prevalence: float) -> Interval:
    label = sample.is_positive(prevalence)
    score = sample.noise() + math.sqrt(2) * ndtri(AREA) * label
    return interval_of(Area(), [classes(label, score, 0.0)], sample.patient)


def _area_difference(sample: Sample, prevalence: float) -> Interval:
    label = sample.is_positive(prevalence)
    noise = sample.noise()
    first = noise + math.sqrt(2) * ndtri(AREA) * label
    second = sample.rival_noise(noise) + math.sqrt(2) * ndtri(AREA_OF_RIVAL) * label
    seeds = [classes(label, score, 0.0) for score in (first, second)]
    return difference_of(Area(), seeds[:1], seeds[1:], sample.patient)


def _two_classes(sample: Sample, prevalence: float) -> Scored:
    label = sample.is_positive(prevalence)
    threshold = ndtri(SPECIFICITY)
    return classes(label, sample.noise() + (threshold + ndtri(SENSITIVITY)) * label, threshold)


def _sensitivity(sample: Sample, prevalence: float) -> Interval:
    return interval_of(Share(is_found), [_two_classes(sample, prevalence)], sample.patient)


def _macro_f1(sample: Sample, prevalence: float) -> Interval:
    return interval_of(MACRO_F1, [_two_classes(sample, prevalence)], sample.patient)


def _macro_f1_truth(prevalence: float) -> float:
    found, false = prevalence * SENSITIVITY, (1 - prevalence) * (1 - SPECIFICITY)
    missed, rejected = prevalence - found, (1 - prevalence) - false
    positive = 2 * found / (2 * found + false + missed)
    negative = 2 * rejected / (2 * rejected + false + missed)
    return (positive + negative) / 2


def _of_errors(figure: Figure, shift: float = 0.0) -> Callable[[Sample, float], Interval]:
    def draw(sample: Sample, _: float) -> Interval:
        return interval_of(figure, [errors(sample.noise() + shift)], sample.patient)

    return draw


def _mae_difference(sample: Sample, _: float) -> Interval:
    noise = sample.noise()
    rival = SPREAD_OF_RIVAL * sample.rival_noise(noise)
    return difference_of(MAE, [errors(noise)], [errors(rival)], sample.patient)


CASES = (
    Case("accuracy", _accuracy, lambda prevalence: 1 - prevalence),
    Case("sensitivity", _sensitivity, lambda _: SENSITIVITY),
    Case("AUC", _area, lambda _: AREA),
    Case("macro-F1", _macro_f1, _macro_f1_truth),
    Case("accuracy, difference", _accuracy_difference, lambda _: DIFFERENCE_OF_SHARES),
    Case("AUC, difference", _area_difference, lambda _: AREA - AREA_OF_RIVAL),
    Case("MAE", _of_errors(MAE), lambda _: MEAN_OF_FOLDED, by_prevalence=False),
    Case(
        "SD of absolute error",
        _of_errors(Deviation(metrics.absolute_error)),
        lambda _: SPREAD_OF_FOLDED,
        by_prevalence=False,
    ),
    Case("bias", _of_errors(Mean(metrics.error), BIAS), lambda _: BIAS, by_prevalence=False),
    Case(
        "MAE, difference",
        _mae_difference,
        lambda _: (1 - SPREAD_OF_RIVAL) * MEAN_OF_FOLDED,
        by_prevalence=False,
    ),
)


@dataclass(frozen=True)
class Cell:
    """What was found."""

    figure: str
    design: str
    patients: int
    prevalence: float | None
    """Of the positive class, or of wrong answers for an accuracy."""
    coverage: float | None
    """Of the intervals given; none where not estimable."""
    estimable: float
    """Share of replicates in which an interval was given."""
    too_low: float | None
    """Share of intervals that lie below the truth."""
    too_high: float | None
    median_width: float | None


def simulate(case: Case, design: Design, patients: int, prevalence: float, count: int) -> Cell:
    """Run one cell of the table."""
    purpose = f"{case.name}/{design.name}/{patients}/{prevalence}"
    rng = np.random.default_rng(zlib.crc32(purpose.encode()))
    intervals = []
    for _ in range(count):
        found = case.draw(Sample(rng, patients, design), prevalence)
        intervals.append((found.low, found.high))
    low, high = np.array(intervals).T
    given = ~np.isnan(low)
    is_estimable = given.mean() > ESTIMABLE_SHARE
    truth = case.truth(prevalence)
    low, high = low[given], high[given]
    # Rounding must not decide whether the end of an interval is the truth.
    below, above = high < truth - 1e-9, low > truth + 1e-9
    return Cell(
        figure=case.name,
        design=design.name,
        patients=patients,
        prevalence=prevalence if case.by_prevalence else None,
        coverage=float(1 - below.mean() - above.mean()) if is_estimable else None,
        estimable=float(given.mean()),
        too_low=float(below.mean()) if is_estimable else None,
        too_high=float(above.mean()) if is_estimable else None,
        median_width=float(np.median(high - low)) if is_estimable else None,
    )


def all_cells(count: int) -> Iterator[Cell]:
    """Run the whole table; own labels matter only to figures with a prevalence of labels."""
    with_labels = {"sensitivity", "AUC", "macro-F1", "AUC, difference"}
    for case in CASES:
        designs = DESIGNS if case.name in with_labels else DESIGNS[:2]
        for design in designs:
            for patients in PATIENTS:
                for prevalence in PREVALENCES if case.by_prevalence else PREVALENCES[:1]:
                    cell = simulate(case, design, patients, prevalence, count)
                    print(cell, flush=True)
                    yield cell


def markdown(cells: list[Cell], count: int) -> str:
    """Write the table: a row per figure and design, a column per number of patients."""
    error = math.sqrt(0.95 * 0.05 / count)
    lines = [
        f"Share of {count:,} simulated 95 % intervals that hold the truth (standard error "
        f"{error:.3f}).",
        "n.e.: not estimable in more than half of the replicates. In brackets: the share of",
        f"replicates with an interval, where that is below 1. **Bold**: outside {LOWEST} to "
        f"{HIGHEST}.",
        "",
        f"| figure | design | prevalence | {' | '.join(f'n = {n}' for n in PATIENTS)} |",
        "|---" * (3 + len(PATIENTS)) + "|",
    ]
    rows: dict[tuple[str, str, float | None], list[str]] = {}
    for cell in cells:
        rows.setdefault((cell.figure, cell.design, cell.prevalence), []).append(_text(cell))
    for (figure, design, prevalence), texts in rows.items():
        share = "" if prevalence is None else f"{prevalence:g}"
        lines.append(f"| {figure} | {design} | {share} | {' | '.join(texts)} |")
    return "\n".join(lines) + "\n"


def _text(cell: Cell) -> str:
    if cell.coverage is None:
        return "n.e."
    text = f"{cell.coverage:.3f}"
    if not LOWEST <= round(cell.coverage, 3) <= HIGHEST:
        text = f"**{text}**"
    return text if cell.estimable == 1 else f"{text} ({cell.estimable:.2f})"


def draw(cells: list[Cell], path: Path) -> None:
    """A panel per figure: coverage by number of patients, a line per design and prevalence."""
    figure, panels = plt.subplots(2, 5, figsize=(15, 6), sharey=True, constrained_layout=True)
    colours = {0.5: "#2b6cb0", 0.12: "#dd6b20", 0.02: "#805ad5", None: "#2b6cb0"}
    styles = {design.name: style for design, style in zip(DESIGNS, ("-", "--", ":"), strict=True)}
    for panel, case in zip(panels.flat, CASES, strict=True):
        panel.axhspan(LOWEST, HIGHEST, color="#e6f4ea")
        panel.axhline(0.95, color="#9aa5b1", linewidth=0.8)
        of_case = [cell for cell in cells if cell.figure == case.name]
        for design, prevalence in dict.fromkeys((cell.design, cell.prevalence) for cell in of_case):
            line = [
                (PATIENTS.index(cell.patients), cell.coverage)
                for cell in of_case
                if (cell.design, cell.prevalence) == (design, prevalence) and cell.coverage
            ]
            if line:
                panel.plot(
                    *zip(*line, strict=True),
                    styles[design],
                    color=colours[prevalence],
                    marker="o",
                    markersize=3,
                )
        panel.set(title=case.name, xticks=range(len(PATIENTS)), ylim=(0.85, 1.005))
        panel.set_xticklabels(PATIENTS)
        panel.spines[["top", "right"]].set_visible(False)
    for panel in panels[1]:
        panel.set_xlabel("patients")
    for panel in panels[:, 0]:
        panel.set_ylabel("intervals that hold")
    handles = [
        plt.Line2D([], [], color="#52606d", linestyle=style, label=name)
        for name, style in styles.items()
    ]
    handles += [
        plt.Line2D([], [], color=colours[prevalence], label=f"prevalence {prevalence:g}")
        for prevalence in PREVALENCES
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=6, frameon=False)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=2000)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    cells = list(all_cells(options.replicates))
    record = {"replicates": options.replicates, "cells": [asdict(cell) for cell in cells]}
    write_text(options.results / "coverage.json", json.dumps(record, indent=1) + "\n")
    write_text(options.results / "coverage.md", markdown(cells, options.replicates))
    draw(cells, options.results / "coverage.png")


if __name__ == "__main__":
    main()
