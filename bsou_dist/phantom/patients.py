"""Mothers, visits and exams, each drawn from (seed, patient index) alone."""

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
    """Random numbers that depend on seed and key alone, never on what was drawn elsewhere."""
    return np.random.default_rng([config.seed, *key])


@dataclass(frozen=True)
class Labels:
    """Labels of an exam by its geometry; None where one is missing (or, for twins, not asked)."""

    ga_days: float | None
    presentation: Presentation | None
    placenta: Placenta | None
    dvp_cm: float | None
    fetuses: int


@dataclass(frozen=True)
class Exam:
    """One visit of one mother on one device, ready to be imaged."""

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
    """(Sweep, repeat), in recorded order."""

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
    """The mother of one index.

    It is a pure function of its arguments, so that processes can share a cohort. ``fetuses`` asks
    for a number of them; without it that is drawn (``twin_fraction``).
    """
    mother = _draw_mother(config, index, fetuses)
    patient_id = f"P{index:05d}"
    exams: list[Exam] = []
    for visit, age_days in enumerate(mother.ages_days):
        rng = stream(config, _VISIT, index, visit)
        plan = _draw_plan(config, mother, age_days, rng)
        anatomy = build_anatomy(plan)
        labels = _labels(config, rng, age_days, anatomy)
        study_id = f"{patient_id}-V{visit + 1}"
        scanned_twice = rng.uniform() < config.both_devices_fraction
        own_probe = "handheld" if mother.novice else "console"
        probes = ("console", "handheld") if scanned_twice else (own_probe,)
        for probe in probes:
            key = (index, visit, tuple(DEVICES).index(probe))
            settings, clips = _session(config, stream(config, _EXAM, *key))
            exams.append(
                Exam(
                    patient_id=patient_id,
                    study_id=study_id,
                    exam_id=f"{study_id}-{probe}",
                    key=key,
                    labels=labels,
                    anatomy=anatomy,
                    plan=plan,
                    true_ga_days=float(age_days),
                    probe=probe,
                    operator=OPERATORS[probe],
                    bmi=mother.bmi,
                    visit_day=age_days - mother.ages_days[0],
                    settings=settings,
                    clips=clips,
                )
            )
    return Patient(patient_id, mother.bmi, tuple(exams))


@dataclass(frozen=True)
class _Mother:
    """Random choices that hold for all visits of a mother.

    ``growth``, ``fluid``, ``fat`` and ``muscle`` are in standard deviations from the mean.
    """

    bmi: float
    placenta: Placenta
    placenta_offset: tuple[float, float]
    fetuses: int
    novice: bool
    growth: float
    fluid: float
    fat: float
    muscle: float
    lean_mm: float
    ages_days: list[int]


def _draw_mother(config: PhantomConfig, index: int, fetuses: int | None) -> _Mother:
    rng = stream(config, _PATIENT, index)
    obese = rng.uniform() < config.obese_fraction
    bmi = rng.uniform(30.5, 44.0) if obese else np.clip(rng.normal(24.5, 2.8), 18.5, 29.9)
    placenta: Placenta = "anterior" if rng.uniform() < 0.5 else "posterior"
    sideways = float(np.clip(rng.normal(0.0, 0.22), -0.5, 0.5))
    upwards = float(np.clip(rng.normal(0.15, 0.25), -0.4, 0.55))
    drawn_fetuses = 2 if rng.uniform() < config.twin_fraction else 1
    novice = rng.uniform() < config.novice_fraction
    growth, fluid, fat, muscle = (float(deviation) for deviation in rng.normal(size=4))
    lean_mm = float(np.clip(rng.normal(0.0, 6.0), -14.0, 14.0))

    visits = int(rng.integers(1, config.exams_per_patient + 1))
    youngest, oldest = config.ga_days
    first = int(rng.integers(youngest, oldest + 1))
    later = rng.integers(first, oldest + 1, visits - 1)
    return _Mother(
        bmi=round(float(bmi), 1),
        placenta=placenta,
        placenta_offset=(sideways, upwards),
        fetuses=fetuses or drawn_fetuses,
        novice=novice,
        growth=growth,
        fluid=fluid,
        fat=fat,
        muscle=muscle,
        lean_mm=lean_mm,
        ages_days=sorted({first, *(int(age) for age in later)}),
    )


def _draw_plan(
    config: PhantomConfig, mother: _Mother, age_days: int, rng: np.random.Generator
) -> AnatomyPlan:
    """The mother at one visit."""
    size_ga_days = age_days * (1.0 + config.growth_sd * mother.growth)
    fat_mm = 2.1 * (mother.bmi - 16.0) * 1.15**mother.fat
    muscle_mm = 9.0 + 1.5 * mother.muscle
    # the fluid keeps most of its deviation from visit to visit: 0.8^2 + 0.6^2 = 1
    fluid = 0.8 * mother.fluid + 0.6 * rng.normal()
    log_bladder_ml = rng.uniform(np.log(15.0), np.log(150.0))
    pole_mm = float(rng.normal(-6.0, 4.0))
    lies = tuple(_lie(rng, age_days, config.balanced) for _ in range(mother.fetuses))
    return AnatomyPlan(
        size_ga_days=float(np.clip(size_ga_days, *GA_LIMITS_DAYS)),
        bmi=mother.bmi,
        fat_mm=float(np.clip(fat_mm, 5.0, 62.0)),
        muscle_mm=float(np.clip(muscle_mm, 5.0, 13.0)),
        fluid_factor=float(np.exp(0.25 * fluid)),
        bladder_ml=float(np.exp(log_bladder_ml)),
        pole_mm=pole_mm,
        lean_mm=mother.lean_mm,
        placenta_side=mother.placenta,
        placenta_offset=mother.placenta_offset,
        lies=lies,
    )


def _lie(rng: np.random.Generator, ga_days: float, balanced: bool) -> Lie:
    """Draw how a fetus lies; a fifth of the non-cephalic ones lie across."""
    share = 0.5 if balanced else non_cephalic_share(ga_days)
    non_cephalic = rng.uniform() < share
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
    quarter_turn = rng.choice((-0.5, 0.5)) * math.pi
    roll = quarter_turn + np.clip(rng.normal(0.0, 0.45), -1.2, 1.2)
    return Lie(_unit(headwards), float(roll), Posture.draw(rng))


def _unit(vector: Array) -> Array:
    return vector / np.linalg.norm(vector)


def _labels(
    config: PhantomConfig, rng: np.random.Generator, ga_days: float, anatomy: Anatomy
) -> Labels:
    """Labels of an anatomy, less those that are missing.

    The same numbers are drawn whatever is missing.
    """
    dating_error_days = round(config.dating_sd_days * rng.normal(0.0, 1.0))
    missing = rng.uniform(size=4) < config.missing_label_fraction
    no_age, no_presentation, no_placenta, no_pocket = missing.tolist()
    single = len(anatomy.fetuses) == 1
    return Labels(
        ga_days=None if no_age else ga_days + dating_error_days,
        presentation=anatomy.presentation() if single and not no_presentation else None,
        placenta=anatomy.placenta_side() if single and not no_placenta else None,
        dvp_cm=round(anatomy.dvp_cm(), 2) if single and not no_pocket else None,
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
    at_least = min(2, len(order))
    spare = max(0, at_least - int(kept.sum()))
    kept[order[:spare]] = True
    repeats = rng.integers(1, config.clips_per_sweep + 1, len(config.sweeps))
    clips = [
        (sweep, number)
        for sweep, is_kept, count in zip(config.sweeps, kept, repeats.tolist(), strict=True)
        if is_kept
        for number in range(count)
    ]
    return settings, tuple(clips)
