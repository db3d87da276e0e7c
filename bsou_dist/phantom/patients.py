"""Who is scanned: mothers, visits and exams, each drawn from (seed, patient index) alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bsou_dist.phantom.anatomy import (
    Anatomy,
    AnatomyPlan,
    Lie,
    Placenta,
    Presentation,
    build_anatomy,
)
from bsou_dist.phantom.config import GA_LIMITS_DAYS, PhantomConfig
from bsou_dist.phantom.ellipsoids import Array
from bsou_dist.phantom.fetus import Posture
from bsou_dist.phantom.growth import non_cephalic_share
from bsou_dist.phantom.imaging import ProbeSettings

DEVICES = {"console": "Phantom Console", "handheld": "Phantom Handheld"}
OPERATORS = {"console": "expert", "handheld": "novice"}

_PATIENT, _VISIT, _EXAM, CLIP = range(4)  # streams of random numbers


def stream(config: PhantomConfig, *key: int) -> np.random.Generator:
    """Random numbers that depend on the seed and the key alone, never on what was drawn
    elsewhere.
    """
    return np.random.default_rng([config.seed, *key])


@dataclass(frozen=True)
class Labels:
    """What the geometry says of an exam; None where it is missing (or, for twins, not asked)."""

    ga_days: float | None
    presentation: Presentation | None
    placenta: Placenta | None
    dvp_cm: float | None
    fetuses: int


@dataclass(frozen=True)
class Exam:
    """One visit of one mother on one device, ready to be imaged. ``clips`` are (sweep, repeat) in
    recorded order.
    """

    patient_id: str
    study_id: str
    exam_id: str
    key: tuple[int, int, int]
    """Patient index, visit, device index: names the exam's random streams."""
    labels: Labels
    anatomy: Anatomy
    plan: AnatomyPlan
    true_ga_days: float
    probe: str
    operator: str
    bmi: float
    visit_day: int
    settings: ProbeSettings
    clips: tuple[tuple[str, int], ...]

    @property
    def device(self) -> str:
        """Maker and model."""
        return DEVICES[self.probe]


@dataclass(frozen=True)
class Patient:
    """A mother: her exams over all visits and devices."""

    patient_id: str
    bmi: float
    exams: tuple[Exam, ...]


def phantom_patients(config: PhantomConfig) -> Iterator[Patient]:
    """Every mother of the cohort, in order."""
    return (phantom_patient(config, index) for index in range(config.patients))


def phantom_patient(config: PhantomConfig, index: int, fetuses: int | None = None) -> Patient:
    """The mother of one index: a pure function of its arguments, so that processes can share a
    cohort.

    ``fetuses`` asks for a number of them; without it that is drawn (``twin_fraction``).
    """
    rng = stream(config, _PATIENT, index)
    patient_id = f"P{index:05d}"
    obese = rng.uniform() < config.obese_fraction
    bmi = round(
        float(rng.uniform(30.5, 44.0) if obese else np.clip(rng.normal(24.5, 2.8), 18.5, 29.9)), 1
    )
    placenta: Placenta = "anterior" if rng.uniform() < 0.5 else "posterior"
    offset = (
        float(np.clip(rng.normal(0.0, 0.22), -0.5, 0.5)),
        float(np.clip(rng.normal(0.15, 0.25), -0.4, 0.55)),
    )
    drawn = 2 if rng.uniform() < config.twin_fraction else 1
    novice = rng.uniform() < config.novice_fraction
    growth, fluid, fat, muscle = (float(v) for v in rng.normal(size=4))
    lean = float(np.clip(rng.normal(0.0, 6.0), -14.0, 14.0))

    visits = int(rng.integers(1, config.exams_per_patient + 1))
    low, high = config.ga_days
    first = int(rng.integers(low, high + 1))
    ages = sorted({first, *(int(v) for v in rng.integers(first, high + 1, visits - 1))})
    exams: list[Exam] = []
    for visit, age in enumerate(ages):
        draw = stream(config, _VISIT, index, visit)
        plan = AnatomyPlan(
            size_ga_days=float(np.clip(age * (1.0 + config.growth_sd * growth), *GA_LIMITS_DAYS)),
            bmi=bmi,
            fat_mm=float(np.clip(2.1 * (bmi - 16.0) * 1.15**fat, 5.0, 62.0)),
            muscle_mm=float(np.clip(9.0 + 1.5 * muscle, 5.0, 13.0)),
            fluid_factor=float(np.exp(0.25 * (0.8 * fluid + 0.6 * draw.normal()))),
            bladder_ml=float(np.exp(draw.uniform(np.log(15.0), np.log(150.0)))),
            pole_mm=float(draw.normal(-6.0, 4.0)),
            lean_mm=lean,
            placenta_side=placenta,
            placenta_offset=offset,
            lies=tuple(_lie(draw, age, config.balanced) for _ in range(fetuses or drawn)),
        )
        study_id, anatomy = f"{patient_id}-V{visit + 1}", build_anatomy(plan)
        labels = _labels(config, draw, age, anatomy)
        both = draw.uniform() < config.both_devices_fraction
        probes = ("console", "handheld") if both else ("handheld" if novice else "console",)
        for probe in probes:
            key = (index, visit, tuple(DEVICES).index(probe))
            settings, clips = _session(config, stream(config, _EXAM, *key))
            exams.append(
                Exam(
                    patient_id,
                    study_id,
                    f"{study_id}-{probe}",
                    key,
                    labels,
                    anatomy,
                    plan,
                    float(age),
                    probe,
                    OPERATORS[probe],
                    bmi,
                    age - ages[0],
                    settings,
                    clips,
                )
            )
    return Patient(patient_id, bmi, tuple(exams))


def _lie(rng: np.random.Generator, ga_days: float, balanced: bool) -> Lie:
    """How a fetus lies; a fifth of the non-cephalic ones lie across."""
    non_cephalic = rng.uniform() < (0.5 if balanced else non_cephalic_share(ga_days))
    transverse = rng.uniform() < 0.2
    if non_cephalic and transverse:  # head to either side, up to 26 degrees off the level
        angle = rng.uniform(-0.45, 0.45)
        side = rng.choice((-1.0, 1.0))
        headwards = np.array([side * math.cos(angle), rng.normal(0.0, 0.08), math.sin(angle)])
    else:
        sway = np.clip(rng.normal(0.0, 0.14, 2), -0.35, 0.35)
        upwards = math.cos(sway[0]) * (1.0 if non_cephalic else -1.0)
        headwards = np.array([math.sin(sway[0]), 0.6 * math.sin(sway[1]), upwards])
    # The uterus is flatter from front to back than from side to side, so a fetus mostly looks to
    # one side.
    roll = rng.choice((-0.5, 0.5)) * math.pi + np.clip(rng.normal(0.0, 0.45), -1.2, 1.2)
    return Lie(_unit(headwards), float(roll), Posture.draw(rng))


def _unit(vector: Array) -> Array:
    return vector / np.linalg.norm(vector)


def _labels(
    config: PhantomConfig, rng: np.random.Generator, ga_days: float, anatomy: Anatomy
) -> Labels:
    """Labels of an anatomy, less those that are missing; the same numbers are drawn whatever is
    missing.
    """
    dating_error, missing = (
        rng.normal(0.0, 1.0),
        rng.uniform(size=4) < config.missing_label_fraction,
    )
    single = len(anatomy.fetuses) == 1
    return Labels(
        ga_days=None if missing[0] else ga_days + round(config.dating_sd_days * dating_error),
        presentation=anatomy.presentation() if single and not missing[1] else None,
        placenta=anatomy.placenta_side() if single and not missing[2] else None,
        dvp_cm=round(anatomy.dvp_cm(), 2) if single and not missing[3] else None,
        fetuses=len(anatomy.fetuses),
    )


def _session(
    config: PhantomConfig, rng: np.random.Generator
) -> tuple[ProbeSettings, tuple[tuple[str, int], ...]]:
    """Knobs of the scanner and the clips recorded, both drawn without regard to the mother."""
    settings = ProbeSettings(
        depth_mm=float(rng.choice((160.0, 170.0, 180.0))),
        gain_db=float(rng.normal(0.0, 2.0)),
        tgc_db_per_mm=float(rng.normal(0.165, 0.012)),
        scatter_seed=int(rng.integers(1 << 31)),
    )
    kept = rng.uniform(size=len(config.sweeps)) >= config.missing_sweep_fraction
    order = rng.permutation(len(config.sweeps))
    kept[order[: max(0, min(2, len(order)) - int(kept.sum()))]] = True
    repeats = rng.integers(1, config.clips_per_sweep + 1, len(config.sweeps))
    recorded = [
        (s, int(k))
        for s, keep, n in zip(config.sweeps, kept, repeats, strict=True)
        if keep
        for k in range(n)
    ]
    return settings, tuple(recorded)
