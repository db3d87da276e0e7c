"""What PatientOrientation says, for a probe on the belly: down should lead away from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from fan_clips import fan_frames
from pydicom.dataset import Dataset

from bsou_dist.sources.dicom_orientation import orientation_notes
from bsou_dist.sources.read_clip import read_clip


@pytest.mark.parametrize(
    ("value", "statement"),
    [
        (["L", "P"], None),
        (["R", "P"], None),
        (["LH", "PF"], None),
        (["F", "P"], None),
        (["L", "F"], None),  # a frontal plane: the probe's own axis is not in it
        (["L", ""], None),
        ([], None),
        ("L", None),
        (["X", "Y"], None),
        (["L", "A"], "upward"),
        (["RF", "AH"], "upward"),
        (["A", "F"], "sideways"),
        (["P", "L"], "sideways"),
        (["L", "R"], "same axis"),
        (["A", "P"], "same axis"),
    ],
)
def test_what_contradicts_is_noted(value: object, statement: str | None) -> None:
    header = Dataset()
    header.PatientOrientation = value
    notes = orientation_notes(header)
    if statement is None:
        assert notes == ()
    else:
        [note] = notes
        assert note.startswith("orientation: PatientOrientation ")
        assert statement in note


def test_frames_stay_as_they_are_stored(dicom: Path) -> None:
    dataset = pydicom.dcmread(dicom)
    dataset.PatientOrientation = ["L", "A"]
    dataset.save_as(dicom)
    clip = read_clip(dicom)
    np.testing.assert_array_equal(clip.frames, fan_frames())
    assert [note.split(": ")[0] for note in clip.notes] == ["orientation"]
