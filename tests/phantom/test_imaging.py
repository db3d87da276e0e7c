"""Pictures of the phantom: the same bytes every time, black outside the fan, and no label but in
the anatomy.
"""

from __future__ import annotations

import hashlib
import itertools
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

from bsou_dist.phantom import Exam, PhantomConfig, phantom_patient, phantom_patients, render_sweep
from bsou_dist.phantom.imaging import PROBES, image_grid, shift_of, tissue_along_beams
from bsou_dist.phantom.sweeps import HANDS, Course, probe_poses, wander
from bsou_dist.phantom.tissues import Tissue

CONFIG = PhantomConfig(
    seed=4, patients=30, frames=6, size_px=48, balanced=True, novice_fraction=0.4
)


@pytest.fixture(scope="module")
def exams() -> list[Exam]:
    return [patient.exams[0] for patient in phantom_patients(CONFIG)]


def _digest(job: tuple[int, str]) -> str:
    frames = render_sweep(phantom_patient(CONFIG, job[0]).exams[0], job[1], CONFIG)
    return hashlib.sha256(frames.tobytes()).hexdigest()


def test_same_bytes_in_any_order_and_process() -> None:
    jobs = [(i, s) for i in (0, 1, 5) for s in ("M", "C3")]
    here = {job: _digest(job) for job in jobs}
    assert {job: _digest(job) for job in reversed(jobs)} == here
    assert len(set(here.values())) == len(jobs)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert dict(zip(jobs[::2], pool.map(_digest, jobs[::2]), strict=True)) == {
            j: here[j] for j in jobs[::2]
        }


def test_another_seed_or_repeat_gives_other_pictures(exams: list[Exam]) -> None:
    first = render_sweep(exams[0], "M", CONFIG)
    assert (first != render_sweep(exams[0], "M", CONFIG, 1)).any()
    other = CONFIG.model_copy(update={"seed": 5})
    assert (first != render_sweep(phantom_patient(other, 0).exams[0], "M", other)).any()


def test_frames_are_grey_and_exactly_black_outside_the_fan(exams: list[Exam]) -> None:
    for exam in exams[:8]:
        frames = render_sweep(exam, "C2", CONFIG)
        grid = image_grid(
            PROBES[exam.probe], exam.settings.depth_mm, CONFIG.size_px, CONFIG.field_mm
        )
        outside = np.ones(CONFIG.size_px**2, bool)
        outside[grid.pixel] = False
        assert frames.shape == (6, 48, 48)
        assert frames.dtype == np.uint8
        assert not frames.reshape(6, -1)[:, outside].any()
        assert frames.reshape(6, -1)[:, ~outside].std() > 20


def test_beams_meet_the_tissue_that_lies_there(exams: list[Exam]) -> None:
    """The closed form along beams against the plain test of every ellipsoid at every point."""
    exam = exams[0]
    probe, rng = PROBES["console"], np.random.default_rng(0)
    poses = probe_poses(exam.anatomy, "M", HANDS["novice"], probe.edge_gap_mm, Course(), rng, 4)
    grid = image_grid(probe, 160.0, 48, 192.0)
    tissue, _ = tissue_along_beams(exam.anatomy.scene, poses, probe, grid, None)
    apex = poses.face - probe.radius_mm * poses.inward
    along = (
        np.cos(grid.angle)[:, None] * poses.inward[:, None]
        + np.sin(grid.angle)[:, None] * poses.lateral[:, None]
    )
    points = (
        apex[:, None, None]
        + along[:, :, None] * (probe.radius_mm + grid.depth.astype(float))[:, None]
    )
    plain = exam.anatomy.scene.tissue_at(points.reshape(-1, 3)).reshape(tissue.shape)
    assert (plain == tissue).mean() > 0.9995  # float32 rounds a sample on a surface to either side
    assert len(np.unique(plain)) > 12


def test_sweeps_go_where_their_names_say(exams: list[Exam]) -> None:
    exam, still = exams[0], HANDS["expert"]
    gap = PROBES["console"].edge_gap_mm
    face = {
        sweep: probe_poses(
            exam.anatomy, sweep, still, gap, Course(), np.random.default_rng(1), 12
        ).face
        for sweep in CONFIG.sweeps
    }
    assert face["L"][:, 0].mean() > face["M"][:, 0].mean() > face["R"][:, 0].mean()
    assert face["C1"][:, 2].mean() < face["C2"][:, 2].mean() < face["C3"][:, 2].mean()
    for sweep, line in face.items():
        along = line[:, 2] if sweep in "MLR" else -line[:, 0]
        assert along[-1] - along[0] > 60.0
    back = probe_poses(
        exam.anatomy, "M", still, gap, Course(reversed=True), np.random.default_rng(1), 12
    ).face
    assert back[0, 2] > back[-1, 2] + 60.0
    short = probe_poses(
        exam.anatomy, "M", still, gap, Course(done=0.5), np.random.default_rng(1), 12
    ).face
    assert np.ptp(short[:, 2]) < 0.7 * np.ptp(face["M"][:, 2])


def test_a_lifted_probe_sees_nothing(exams: list[Exam]) -> None:
    probe = PROBES["console"]
    poses = probe_poses(
        exams[0].anatomy,
        "M",
        HANDS["expert"],
        probe.edge_gap_mm,
        Course(lifted=(0.4, 0.7)),
        np.random.default_rng(1),
        11,
    )
    grid = image_grid(probe, 160.0, 48, 192.0)
    first = tissue_along_beams(exams[0].anatomy.scene, poses, probe, grid, None)[0][:, :, 0]
    assert (first[4:7] == Tissue.AIR).all()
    assert (first[:4] != Tissue.AIR).mean() > 0.95


def test_wandering_does_not_depend_on_the_frame_count() -> None:
    coarse, fine = wander(np.random.default_rng(2), 5), wander(np.random.default_rng(2), 9)
    np.testing.assert_allclose(coarse, fine[::2])
    assert 0.7 < np.std([wander(np.random.default_rng(k), 9) for k in range(400)]) < 1.3


def test_speckle_stays_with_the_tissue() -> None:
    """Two neighbouring slow frames resemble each other; two exams of one place do not share
    speckle.
    """
    config = PhantomConfig(frames=400, size_px=48, hand_jitter=0.0, duration_s=(60.0, 60.0))
    exam = phantom_patient(config, 0).exams[0]
    frames = render_sweep(exam, "M", config)[100:140].astype(float)
    detail = frames - frames.mean(0)
    near, far = (np.corrcoef(detail[:-k].ravel(), detail[k:].ravel())[0, 1] for k in (1, 20))
    assert near > 0.4
    assert far < 0.2


def test_fetal_motion_moves_the_fetus_and_not_the_mother(exams: list[Exam]) -> None:
    exam, probe = exams[0], PROBES["console"]
    poses = probe_poses(
        exam.anatomy,
        "C2",
        HANDS["expert"],
        probe.edge_gap_mm,
        Course(),
        np.random.default_rng(1),
        5,
    )
    grid = image_grid(probe, 160.0, 48, 192.0)
    rest, _ = tissue_along_beams(exam.anatomy.scene, poses, probe, grid, None)
    moved, _ = tissue_along_beams(exam.anatomy.scene, poses, probe, grid, np.full((1, 5, 3), 6.0))
    mother = (rest < Tissue.MYOMETRIUM) | (moved < Tissue.MYOMETRIUM)
    np.testing.assert_array_equal(rest[mother], moved[mother])
    assert (rest != moved).mean() > 0.01


def test_speckle_goes_with_the_fetus_it_belongs_to() -> None:
    exam, probe = (
        phantom_patient(PhantomConfig(twin_fraction=1.0, patients=5), 4).exams[0],
        PROBES["console"],
    )
    poses = probe_poses(
        exam.anatomy,
        "C2",
        HANDS["expert"],
        probe.edge_gap_mm,
        Course(),
        np.random.default_rng(1),
        5,
    )
    motion = np.zeros((2, 5, 3))
    motion[1, 3] = (4.0, -2.0, 1.0)
    tissue, owner = tissue_along_beams(
        exam.anatomy.scene, poses, probe, image_grid(probe, 160.0, 48, 192.0), motion
    )
    assert owner is not None
    assert set(np.unique(owner[tissue > Tissue.PLACENTA])) == {1, 2}
    assert not owner[tissue <= Tissue.MYOMETRIUM].any()
    moved = shift_of(owner, motion)
    second = owner[3] == 2
    assert second.any()
    assert (moved[:, 3, second] == [[4.0], [-2.0], [1.0]]).all()
    assert not moved[:, 3, ~second].any()
    assert not moved[:, :3].any()


def test_scanner_settings_carry_no_label() -> None:
    exams = [
        p.exams[0] for p in phantom_patients(PhantomConfig(seed=8, patients=300, balanced=True))
    ]
    knobs = np.array(
        [[e.settings.depth_mm, e.settings.gain_db, e.settings.tgc_db_per_mm] for e in exams]
    )
    labels = np.array(
        [
            [
                e.true_ga_days,
                e.labels.presentation == "cephalic",
                e.labels.placenta == "anterior",
                e.labels.dvp_cm,
            ]
            for e in exams
        ],
        float,
    )
    correlation = np.corrcoef(knobs.T, labels.T)[:3, 3:]
    assert np.abs(correlation).max() < 0.18  # 3 standard errors of 300 exams


def test_the_fan_and_the_black_around_it_carry_no_label(exams: list[Exam]) -> None:
    """Which pixels are ever lit depends on probe and depth alone, whatever exam and sweep are
    shown.
    """
    seen: dict[tuple[str, float], set[bytes]] = {}
    for exam, sweep in itertools.product(exams[:12], ("L", "C2")):
        frames = render_sweep(exam, sweep, CONFIG)
        grid = image_grid(
            PROBES[exam.probe], exam.settings.depth_mm, CONFIG.size_px, CONFIG.field_mm
        )
        lit = np.flatnonzero(frames.any(0))
        assert np.isin(lit, grid.pixel).all()
        seen.setdefault((exam.probe, exam.settings.depth_mm), set()).add(grid.pixel.tobytes())
    assert all(len(fans) == 1 for fans in seen.values())


def test_console_is_clearer_than_handheld(exams: list[Exam]) -> None:
    """Speckle in the near field, relative to its mean, of an expert's and a novice's picture."""

    def roughness(probe: str) -> float:
        values = []
        for exam in exams:
            if exam.probe == probe:
                frames = render_sweep(exam, "M", CONFIG).astype(float)
                patch = frames[:, 6:12, 20:28]
                values.append(np.abs(np.diff(patch, axis=2)).mean() / patch.mean())
        return float(np.mean(values))

    assert roughness("handheld") > 1.2 * roughness("console")
