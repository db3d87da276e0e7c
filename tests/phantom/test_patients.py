"""The phantom's patients, exams and clips: identity, ugliness on request, and what a bad config
says.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from p1_tasks import TASKS
from pydantic import ValidationError

from bsou_dist.common.sweeps import SWEEPS
from bsou_dist.phantom import PhantomConfig, phantom_clips, phantom_patient, phantom_patients

COLUMNS = {
    "patient_id",
    "study_id",
    "exam_id",
    "tag_raw",
    "sweep",
    "clip_class",
    "ga_days",
    "ga_source",
    "presentation",
    "placenta",
    "dvp_cm",
    "fetuses",
    "bmi",
    "site",
    "device",
    "operator",
    "visit_day",
    "mm_per_px",
}


def test_a_clip_has_the_columns_of_the_contract() -> None:
    config = PhantomConfig(patients=1, frames=3, size_px=32)
    clips = list(phantom_clips(config))
    assert [clip.row["sweep"] for clip in clips] == list(SWEEPS)
    for clip in clips:
        assert set(clip.row) == COLUMNS
        assert clip.frames.shape == (3, 32, 32)
        assert clip.mm_per_px == clip.row["mm_per_px"] == 6.0
        assert 3 / 12.0 <= clip.frame_rate_hz <= 3 / 6.0
        assert clip.row["ga_source"] == "phantom"
        for task in TASKS.values():
            task.encode(clip.row[task.label])  # every label is one the tasks accept


def test_a_patient_is_the_same_whoever_comes_before() -> None:
    config = PhantomConfig(seed=3, patients=6, exams_per_patient=3, missing_label_fraction=0.3)
    cohort = list(phantom_patients(config))
    alone = phantom_patient(config, 4)
    assert [e.labels for e in alone.exams] == [e.labels for e in cohort[4].exams]
    assert [e.settings for e in alone.exams] == [e.settings for e in cohort[4].exams]


def test_later_visits_show_the_same_mother_with_an_older_fetus() -> None:
    config = PhantomConfig(seed=1, patients=20, exams_per_patient=4, both_devices_fraction=0.5)
    cohort = list(phantom_patients(config))
    exams = [exam for patient in cohort for exam in patient.exams]
    assert len({exam.exam_id for exam in exams}) == len(exams) > 30
    assert {(exam.device, exam.operator) for exam in exams} == {
        ("Phantom Console", "expert"),
        ("Phantom Handheld", "novice"),
    }
    for patient in cohort:
        first = patient.exams[0]
        for exam in patient.exams:
            assert exam.bmi == first.bmi
            assert exam.plan.placenta_side == first.plan.placenta_side
            assert exam.true_ga_days == first.true_ga_days + exam.visit_day
        studies = {exam.study_id: exam.visit_day for exam in patient.exams}
        assert len(set(studies.values())) == len(studies)


def test_shares_come_out_as_asked() -> None:
    config = PhantomConfig(
        patients=250,
        obese_fraction=0.3,
        novice_fraction=0.4,
        twin_fraction=0.2,
        balanced=True,
        missing_sweep_fraction=0.25,
        missing_label_fraction=0.15,
        clips_per_sweep=2,
    )
    exams = [p.exams[0] for p in phantom_patients(config)]
    assert np.mean([e.bmi > 30 for e in exams]) == pytest.approx(0.3, abs=0.09)
    assert np.mean([e.operator == "novice" for e in exams]) == pytest.approx(0.4, abs=0.1)
    assert np.mean([e.labels.fetuses == 2 for e in exams]) == pytest.approx(0.2, abs=0.08)
    assert np.mean([e.labels.ga_days is None for e in exams]) == pytest.approx(0.15, abs=0.07)
    single = [e for e in exams if e.labels.fetuses == 1]
    assert np.mean([e.labels.placenta is None for e in single]) == pytest.approx(0.15, abs=0.07)
    assert np.mean([e.anatomy.presentation() == "cephalic" for e in exams]) == pytest.approx(
        0.5, abs=0.1
    )
    assert np.mean([e.anatomy.placenta_side() == "anterior" for e in exams]) == pytest.approx(
        0.5, abs=0.1
    )
    kept = [len({sweep for sweep, _ in e.clips}) for e in exams]
    assert min(kept) >= 2
    assert np.mean(kept) / 6 == pytest.approx(0.75, abs=0.05)
    assert np.mean([len(e.clips) for e in exams]) / np.mean(kept) == pytest.approx(1.5, abs=0.1)


def test_missing_labels_do_not_change_the_pictures_or_the_others() -> None:
    full, holed = (
        phantom_patient(PhantomConfig(patients=9, missing_label_fraction=f), 4).exams[0]
        for f in (0.0, 1.0)
    )
    assert (
        holed.labels.ga_days,
        holed.labels.presentation,
        holed.labels.placenta,
        holed.labels.dvp_cm,
    ) == (None,) * 4
    assert full.settings == holed.settings
    np.testing.assert_array_equal(full.anatomy.scene.centre, holed.anatomy.scene.centre)


def test_presentation_follows_age_unless_balanced() -> None:
    late = PhantomConfig(patients=120, ga_days=(259, 280))
    breech = {
        b: np.mean(
            [
                p.exams[0].labels.presentation == "non_cephalic"
                for p in phantom_patients(late.model_copy(update={"balanced": b}))
            ]
        )
        for b in (False, True)
    }
    assert breech[False] < 0.2
    assert breech[True] > 0.35


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ({"size": 96}, "size"),
        ({"ga_days": (300, 310)}, "84 to 294"),
        ({"ga_days": (200, 150)}, "rising"),
        ({"sweeps": ("M", "M1")}, "choose one or more of M, L, R, C1, C2, C3"),
        ({"sweeps": ()}, "choose one or more"),
        ({"size_px": 24}, "raise size_px"),
        ({"duration_s": (9.0, 3.0)}, "0.5 to 120 s"),
        ({"twin_fraction": 1.5}, "less than or equal to 1"),
    ],
)
def test_a_bad_config_says_what_is_allowed(bad: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        PhantomConfig(**bad)
