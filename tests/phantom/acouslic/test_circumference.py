from __future__ import annotations

import math

import numpy as np
import pytest

from bsou_dist.common.sweeps import SWEEPS
from bsou_dist.phantom import PhantomConfig, phantom_patient, sweep_poses
from bsou_dist.phantom.acouslic.circumference import abdominal_circumference_mm, section_girth_mm
from bsou_dist.phantom.ellipsoids import Ellipsoid
from bsou_dist.phantom.fetus import BELLY
from bsou_dist.phantom.growth import biometry
from bsou_dist.phantom.tissues import Tissue


def test_sections_of_a_ball_are_circles() -> None:
    ball = Ellipsoid(Tissue.SOFT, np.ones(3), np.eye(3), np.full(3, 50.0))
    normal = np.array([0.6, 0.0, 0.8])
    assert section_girth_mm(ball, normal, 0.0) == pytest.approx(2 * math.pi * 50)
    assert section_girth_mm(ball, normal, 30.0) == pytest.approx(2 * math.pi * 40)


def test_a_section_has_the_girth_of_its_outline() -> None:
    """Against points of the outline, which lie in the plane and on the ellipsoid."""
    turn = np.linalg.qr(np.arange(9.0).reshape(3, 3) + np.eye(3))[0]
    part = Ellipsoid(Tissue.SOFT, np.zeros(3), turn, np.array([40.0, 44.0, 60.0]))
    normal = np.array([2.0, 3.0, 6.0]) / 7.0
    beside = 9.0
    basis = np.linalg.svd(normal[None])[2][1:]
    angles = np.linspace(0, 2 * np.pi, 20_001)
    rays = np.cos(angles)[:, None] * basis[0] + np.sin(angles)[:, None] * basis[1]
    middle = beside * normal
    # |to_unit (middle + t ray)| = 1, for t
    a = ((rays @ part.to_unit.T) ** 2).sum(1)
    b = (rays @ part.to_unit.T) @ (part.to_unit @ middle)
    c = ((part.to_unit @ middle) ** 2).sum() - 1
    t = (-b + np.sqrt(b * b - a * c)) / a
    outline = middle + t[:, None] * rays
    girth = np.linalg.norm(np.diff(outline, axis=0), axis=1).sum()
    assert section_girth_mm(part, normal, beside) == pytest.approx(girth, rel=1e-4)


def test_a_fetus_along_the_mother_is_measured_in_transverse_sweeps() -> None:
    config = PhantomConfig(frames=60, hand_jitter=0.0, ga_days=(200, 240))
    lengthwise = 0
    for index in range(6):
        [exam] = phantom_patient(config, index).exams
        along = abs(exam.anatomy.fetuses[0].parts[BELLY].axes[2, 2])
        if along < 0.95:
            continue
        lengthwise += 1
        found = [
            abdominal_circumference_mm(exam, sweep_poses(exam, sweep, config)) for sweep in SWEEPS
        ]
        true_mm = biometry(exam.plan.size_ga_days).ac_mm
        assert found[0] == pytest.approx(true_mm, rel=0.06)
        assert found[3:] == [None] * 3
    assert lengthwise >= 3
