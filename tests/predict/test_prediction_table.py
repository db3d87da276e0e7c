"""Ages in predictions that are handed on."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bsou_dist.predict.prediction_table import with_ages_in_weeks


def test_ages_are_those_of_the_middle_of_their_week() -> None:
    ages = [140.0, 143.0, 146.0, 147.0, np.nan]
    rows = pd.DataFrame({"ga_days": ages, "label": ages, "variance": [1.0] * 4 + [np.nan]})
    middles = [143.0, 143.0, 143.0, 150.0, np.nan]
    regression = with_ages_in_weeks(rows, label_is_age=True)
    np.testing.assert_array_equal(regression["ga_days"], middles)
    np.testing.assert_array_equal(regression["label"], middles)
    np.testing.assert_array_equal(rows["ga_days"], ages)


def test_labels_that_are_no_ages_stay() -> None:
    rows = pd.DataFrame({"ga_days": [141.0], "label": [9.0], "variance": [1.0]})
    assert with_ages_in_weeks(rows, label_is_age=False)["label"].tolist() == [9.0]
    classes = rows.assign(variance=np.nan)
    assert with_ages_in_weeks(classes, label_is_age=True)["label"].tolist() == [9.0]
