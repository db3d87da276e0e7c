from __future__ import annotations

import numpy as np
import pytest
from p1_tasks import TASKS
from pydantic import ValidationError

from bsou_dist.common.errors import InputError
from bsou_dist.tasks.kinds.classification import ClassificationTask
from bsou_dist.tasks.labels import MISSING_CLASS


def test_text_is_one_of_the_classes_or_missing() -> None:
    placenta = TASKS["placenta"]
    assert [placenta.encode(cell) for cell in ("anterior", "posterior", "", None, np.nan)] == [
        0,
        1,
        MISSING_CLASS,
        MISSING_CLASS,
        MISSING_CLASS,
    ]
    with pytest.raises(InputError, match="task 'placenta' allows anterior, posterior or empty"):
        placenta.encode("fundal")


def test_a_number_falls_into_half_open_bins() -> None:
    bins = TASKS["ga_bin"]
    assert [bins.encode(days) for days in (100, 146.9, 147, 195, 196, 238, "300")] == [
        0,
        0,
        1,
        1,
        2,
        3,
        3,
    ]
    with pytest.raises(InputError, match="ga_days is 'soon'; task 'ga_bin' allows a number"):
        bins.encode("soon")


def test_whole_numbers_are_classes_as_text() -> None:
    grade = ClassificationTask(name="grade", label="grade", classes=[0, 1, 2])
    assert grade.classes == ("0", "1", "2")
    assert grade.encode("2") == 2


def test_labels_are_counted_by_class() -> None:
    lines = TASKS["placenta"].summarise(np.array([0, 1, 1, -1]))
    assert [line.split() for line in lines] == [
        ["by", "label", "placenta:"],
        ["anterior", "1"],
        ["posterior", "2"],
        ["missing", "1"],
    ]


def test_one_of_two_classes_is_looked_for() -> None:
    presentation = TASKS["presentation"]
    assert presentation.positive_class == 1
    assert TASKS["sweep"].positive_class is None
    found = ClassificationTask(name="p", label="p", classes=["a", "b"], positive="a")
    assert found.positive_class == 0
    with pytest.raises(ValidationError, match="positive is 'c'; it is one of the classes a, b"):
        ClassificationTask(name="p", label="p", classes=["a", "b"], positive="c")
    with pytest.raises(ValidationError, match="are for two classes, and there are 3"):
        ClassificationTask(name="p", label="p", classes=["a", "b", "c"], wanted_sensitivity=0.9)
