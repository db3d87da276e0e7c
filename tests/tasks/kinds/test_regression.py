from __future__ import annotations

import math

import numpy as np
import pytest
from p1_tasks import TASKS

from bsou_dist.common.errors import InputError
from bsou_dist.tasks.kinds.regression import RegressionTask

EFW = RegressionTask(name="efw_g", label="efw_g", unit="g", level="exam", needs_scale=True)


def test_a_cell_is_a_number_or_missing() -> None:
    assert EFW.encode("2500.5") == 2500.5
    assert math.isnan(EFW.encode(""))
    for wrong in ("heavy", "inf", "nan"):
        with pytest.raises(InputError, match="task 'efw_g' allows a number or empty"):
            EFW.encode(wrong)


def test_stage_1_compares_numbers_by_quartiles_of_the_training_labels() -> None:
    labels = np.array([np.nan, *np.arange(100.0, 200.0)])
    bins = EFW.for_stage1(labels)
    assert bins.bin_edges == (124.0, 149.0, 174.0)
    assert bins.classes == ("<124 g", "124-149 g", "149-174 g", ">=174 g")
    assert (bins.name, bins.label, bins.level, bins.needs_scale) == ("efw_g", "efw_g", "exam", True)
    counts = np.bincount([bins.encode(label) for label in labels[1:]])
    assert counts.tolist() == [24, 25, 25, 26]


def test_stage_1_takes_bin_edges_that_are_given() -> None:
    binned = EFW.model_copy(update={"bin_edges": (2500.0,)})
    assert binned.for_stage1(np.array([])).classes == ("<2500 g", ">=2500 g")
    by_paper = TASKS["ga"].model_copy(update={"bin_edges": TASKS["ga_bin"].bin_edges})
    assert by_paper.for_stage1(np.array([])).bin_edges == TASKS["ga_bin"].bin_edges


@pytest.mark.parametrize("labels", [[], [np.nan], [1.0, 1.0, 1.0, 2.0], [1.0, 2.0]])
def test_labels_that_make_no_bins_are_refused(labels: list[float]) -> None:
    with pytest.raises(InputError, match=r"too few different values .*; give the task bin_edges"):
        EFW.for_stage1(np.array(labels))


def test_labels_are_described_with_their_unit() -> None:
    assert EFW.summarise(np.array([1.0, 3.0, np.nan])) == [
        "label efw_g: 2 known, mean 2.0, 1.0 to 3.0 g"
    ]
    assert EFW.summarise(np.array([np.nan])) == ["label efw_g: missing everywhere"]
