"""Clips of a probe that is held still, as for a measurement."""

from __future__ import annotations

import numpy as np
import pytest

from bsou_dist.phantom import PhantomConfig, phantom_patient, render_sweep
from bsou_dist.phantom.growth import biometry
from bsou_dist.phantom.still_view import STILL_VIEWS, render_still_view


def test_calipers_measure_the_head() -> None:
    config = PhantomConfig(patients=8, frames=2, size_px=96)
    for index in range(8):
        exam = phantom_patient(config, index).exams[0]
        (x0, y0), (x1, y1) = render_still_view(exam, "head", config).calipers
        measured_mm = np.hypot(x1 - x0, y1 - y0) * config.mm_per_px
        assert measured_mm == pytest.approx(biometry(exam.plan.size_ga_days).bpd_mm, rel=0.05)


def test_calipers_stand_on_the_skull() -> None:
    """Bone is brighter than what lies a little above and below."""
    config = PhantomConfig(patients=8, frames=2, size_px=192, ga_days=(180, 250))
    brightness = []
    for index in range(8):
        view = render_still_view(phantom_patient(config, index).exams[0], "head", config)
        for x, y in view.calipers:
            rows, column = (
                (round(y + step_mm / config.mm_per_px) for step_mm in (-6.0, 0.0, 6.0)),
                round(x),
            )
            brightness.append(
                [view.frames[0, row - 1 : row + 2, column - 1 : column + 2].mean() for row in rows]
            )
    above, on, below = np.mean(brightness, axis=0)
    assert on > max(above, below) + 40


@pytest.mark.parametrize("target", STILL_VIEWS)
def test_a_held_probe_shows_one_plane(target: str) -> None:
    config = PhantomConfig(patients=2, frames=6, size_px=64)
    exam = phantom_patient(config, 1).exams[0]
    held, swept = render_still_view(exam, target, config).frames, render_sweep(exam, "M", config)
    assert held.shape == swept.shape
    change = [np.abs(np.diff(frames.astype(float), axis=0)).mean() for frames in (held, swept)]
    assert 0 < change[0] < 0.7 * change[1]
    np.testing.assert_array_equal(held, render_still_view(exam, target, config).frames)


def test_as_many_fetuses_as_asked_for() -> None:
    config = PhantomConfig(patients=2)
    three = phantom_patient(config, 0, fetuses=3).exams[0]
    assert three.labels.fetuses == len(three.anatomy.fetuses) == 3
    assert three.labels.presentation is None
    assert (
        phantom_patient(config, 0, fetuses=1).exams[0].labels
        == phantom_patient(config, 0).exams[0].labels
    )
