"""Labels of the phantom against its geometry, and its growth against published charts."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bsou_dist.phantom import Exam, PhantomConfig, phantom_patient, phantom_patients
from bsou_dist.phantom.anatomy import build_anatomy
from bsou_dist.phantom.growth import biometry, non_cephalic_share
from bsou_dist.phantom.tissues import Tissue

CONFIG = PhantomConfig(seed=11, patients=40, balanced=True)


@pytest.fixture(scope="module")
def exams() -> list[Exam]:
    return [patient.exams[0] for patient in phantom_patients(CONFIG)]


@pytest.mark.parametrize(
    ("weeks", "bpd", "hc", "ac", "fl"),
    [
        # rounded means (mm) of common charts after Hadlock 1984
        (20, 46, 175, 150, 33),
        (28, 71, 262, 239, 54),
        (36, 88, 324, 319, 71),
    ],
)
def test_growth_is_near_the_common_charts(
    weeks: int, bpd: float, hc: float, ac: float, fl: float
) -> None:
    size = biometry(7 * weeks)
    np.testing.assert_allclose(
        [size.bpd_mm, size.hc_mm, size.ac_mm, size.fl_mm], [bpd, hc, ac, fl], rtol=0.035
    )


def test_size_rises_at_every_age_and_breech_falls() -> None:
    ages = range(84, 295)
    table = np.array([dataclasses.astuple(biometry(age)) for age in ages])
    assert (np.diff(table, axis=0) > 0).all()
    assert non_cephalic_share(140) > 2 * non_cephalic_share(224) > 2 * non_cephalic_share(280)


def test_the_fetus_has_the_size_of_the_chart(exams: list[Exam]) -> None:
    for exam in exams:
        skull = next(p for p in exam.anatomy.fetuses[0].parts if p.tissue == Tissue.SKULL)
        size = biometry(exam.plan.size_ga_days)
        np.testing.assert_allclose(2 * skull.radii[:2], [size.bpd_mm, size.ofd_mm])
        girth = max(p.radii[0] for p in exam.anatomy.fetuses[0].parts[:4]) * 2 * np.pi
        assert girth == pytest.approx(size.ac_mm)


def test_age_is_the_recorded_one_and_growth_scatters_about_it() -> None:
    exams = [p.exams[0] for p in phantom_patients(PhantomConfig(patients=80, growth_sd=0.05))]
    error = [e.plan.size_ga_days / e.true_ga_days - 1.0 for e in exams]
    assert all(e.labels.ga_days == e.true_ga_days for e in exams)
    assert 0.03 < np.std(error) < 0.06
    exact = phantom_patient(PhantomConfig(growth_sd=0.0), 3).exams[0]
    assert exact.plan.size_ga_days == exact.labels.ga_days
    dated = [p.exams[0] for p in phantom_patients(PhantomConfig(patients=80, dating_sd_days=7))]
    assert 5 < np.std([(e.labels.ga_days or 0.0) - e.true_ga_days for e in dated]) < 9


def test_presentation_is_where_the_head_is(exams: list[Exam]) -> None:
    for exam in exams:
        fetus = exam.anatomy.fetuses[0]
        skull = next(p for p in fetus.parts if p.tissue == Tissue.SKULL)
        trunk = np.mean([p.centre for p in fetus.parts[:4]], axis=0)
        if exam.labels.presentation == "cephalic":
            assert skull.centre[2] < trunk[2] - skull.radii[0]
            assert skull.centre[2] < exam.anatomy.cavity.centre[2]
        else:
            assert skull.centre[2] > trunk[2] - 0.8 * np.linalg.norm(skull.centre - trunk)
    assert {exam.labels.presentation for exam in exams} == {"cephalic", "non_cephalic"}


def test_placenta_is_on_the_side_its_tissue_is(exams: list[Exam]) -> None:
    for exam in exams:
        points, tissue = _voxels(exam, 8.0)
        depth = points[tissue == Tissue.PLACENTA, 1].mean()
        assert exam.labels.placenta == (
            "anterior" if depth < exam.anatomy.cavity.centre[1] else "posterior"
        )
    assert {exam.labels.placenta for exam in exams} == {"anterior", "posterior"}


def test_deepest_pocket_matches_brute_force_on_voxels(exams: list[Exam]) -> None:
    for exam in exams[:4]:
        centre, half = exam.anatomy.cavity.centre, exam.anatomy.cavity.extent
        # the very lines of the closed form, but every point of them asked for its tissue
        axes = [np.arange(-half[i], half[i] + 5.0, 5.0) + centre[i] for i in (0, 2)]
        depth = np.arange(centre[1] - half[1], centre[1] + half[1], 1.0)
        x, z, y = np.meshgrid(*axes, depth, indexing="ij")
        fluid = (
            exam.anatomy.scene.tissue_at(np.stack([x, y, z], -1).reshape(-1, 3)).reshape(x.shape)
            == Tissue.FLUID
        )
        wide = fluid[:-2] & fluid[1:-1] & fluid[2:]  # free over 10 mm from side to side
        longest = run = np.zeros(wide.shape[:2])
        for k in range(wide.shape[2]):
            run = np.where(wide[..., k], run + 1.0, 0.0)
            longest = np.maximum(longest, run)
        assert exam.labels.dvp_cm == pytest.approx(longest.max() / 10.0, abs=0.16)


def test_more_fluid_makes_a_deeper_pocket(exams: list[Exam]) -> None:
    for exam in exams[:8]:
        little, much = (
            build_anatomy(dataclasses.replace(exam.plan, fluid_factor=f)).dvp_cm()
            for f in (0.3, 2.5)
        )
        assert much > little + 0.3


def test_the_pocket_follows_the_fluid_and_not_the_age() -> None:
    """Median and spread as in clinics (most between 2 and 8 cm, median 4 to 6 from 20 weeks on) at
    any age.
    """
    exams = [
        p.exams[0]
        for p in phantom_patients(PhantomConfig(seed=6, patients=150, ga_days=(140, 280)))
    ]
    age, fluid = (
        np.array([v(e) for e in exams])
        for v in (lambda e: e.true_ga_days, lambda e: e.plan.fluid_factor)
    )
    depth = np.array([e.labels.dvp_cm for e in exams], float)
    for low, high in ((140, 187), (187, 234), (234, 281)):
        assert 3.8 < np.median(depth[(age >= low) & (age < high)]) < 6.0
    assert 0.85 < np.mean((depth > 2.0) & (depth < 8.0)) < 0.99
    assert np.quantile(depth, 0.9) > 2.0 * np.quantile(depth, 0.1)
    assert abs(np.corrcoef(depth, age)[0, 1]) < 0.3
    assert np.corrcoef(depth, fluid)[0, 1] > 0.7


def test_every_fetus_lies_in_the_cavity(exams: list[Exam]) -> None:
    twins = [
        p.exams[0]
        for p in phantom_patients(PhantomConfig(patients=12, twin_fraction=1.0, balanced=True))
    ]
    for exam in (*exams, *twins):
        cavity = exam.anatomy.cavity
        assert cavity.within is not None
        for fetus in exam.anatomy.fetuses:
            for point in (fetus.head_centre, fetus.parts[2].centre):
                for bound in (cavity, cavity.within):
                    assert np.linalg.norm(bound.to_unit @ (point - bound.centre)) < 1.0
    for first, second in (exam.anatomy.fetuses for exam in twins):
        clear = first.core_points().max(0) < second.core_points().min(0) + 1.0
        assert clear[0] or clear[2]  # side by side, or the first below
    across = [abs(lie.headwards[0]) > 0.7 for exam in twins for lie in exam.plan.lies]
    assert 0 < sum(across) < len(across) / 2


def test_twins_keep_their_geometry_but_not_the_labels() -> None:
    exam = phantom_patient(PhantomConfig(twin_fraction=1.0), 2).exams[0]
    assert exam.labels.fetuses == len(exam.anatomy.fetuses) == 2
    assert (exam.labels.presentation, exam.labels.placenta, exam.labels.dvp_cm) == (
        None,
        None,
        None,
    )
    assert exam.anatomy.presentation() in ("cephalic", "non_cephalic")
    assert exam.anatomy.dvp_cm() > 0


def _voxels(exam: Exam, step_mm: float) -> tuple[np.ndarray, np.ndarray]:
    centre, half = exam.anatomy.cavity.centre, exam.anatomy.cavity.extent
    axes = [np.arange(c - h, c + h, step_mm) for c, h in zip(centre, half, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    return points, exam.anatomy.scene.tissue_at(points)
