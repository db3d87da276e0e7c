from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from p1_tasks import TASKS

from bsou_dist.cohort.labels import encode_labels, require_labels
from bsou_dist.common.errors import InputError


@pytest.fixture
def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "line": [2, 3, 4, 5],
            "ga_days": [146.0, 147.0, np.nan, 260.0],
            "fetuses": [1.0, 3.0, 2.0, np.nan],
            "presentation": ["cephalic", None, "non_cephalic", "cephalic"],
            "placenta": [None, None, "anterior", None],
            "split_stage2": ["train", "train", "test", None],
        }
    )


def test_classes_are_int64_with_minus_one(table):
    labels = encode_labels(table, TASKS["presentation"])
    assert labels.dtype == np.int64
    assert labels.tolist() == [0, -1, 1, 0]
    assert encode_labels(table, TASKS["ga_bin"]).tolist() == [0, 1, -1, 3]
    assert encode_labels(table, TASKS["multiple"]).tolist() == [0, 1, 1, -1]


def test_targets_are_float64_with_nan(table):
    labels = encode_labels(table, TASKS["ga"])
    assert labels.dtype == np.float64
    np.testing.assert_array_equal(labels, [146.0, 147.0, np.nan, 260.0])


def test_an_empty_column_is_all_missing(table):
    table["presentation"] = pd.Series([None] * 4, dtype="str")
    assert encode_labels(table, TASKS["presentation"]).tolist() == [-1] * 4


def test_all_cells_outside_the_classes_are_named(table):
    table["presentation"] = ["breech", "cephalic", "oblique", "breech"]
    with pytest.raises(InputError) as raised:
        encode_labels(table, TASKS["presentation"])
    message = str(raised.value)
    assert "3 bad cells" in message
    assert (
        "line 4, presentation = (not shown): task 'presentation' allows cephalic, non_cephalic or "
        "empty" in message
    )
    with pytest.raises(InputError, match="column 'dvp_cm', which the cohort does not have"):
        encode_labels(table, TASKS["dvp"])


def test_a_task_without_labels_in_a_split_is_named(table):
    def require(*names):
        labels_of = {TASKS[name]: encode_labels(table, TASKS[name]) for name in names}
        require_labels(labels_of, table, "split_stage2", ["train", "test"])

    require("presentation")
    with pytest.raises(InputError) as raised:
        require("placenta", "ga")
    message = str(raised.value)
    assert (
        "no labels for task 'placenta' (column placenta) in split 'train' of split_stage2 (2 clips)"
        in message
    )
    assert "no labels for task 'ga' (column ga_days) in split 'test'" in message
