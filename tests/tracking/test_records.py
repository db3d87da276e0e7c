from __future__ import annotations

import math

import pandas as pd
from result_records import result_records

from bsou_dist.tracking.records import RECORD_COLUMNS, metrics_to_records, records_to_metrics


def test_records_survive_the_way_through_metrics() -> None:
    rows = result_records(5.0, sets=("main", "obese"))
    rows.loc[0, ["value", "low", "high"]] = math.nan  # a metric that is not defined on these cases
    rows.loc[1, ["low", "high"]] = math.nan
    metrics = records_to_metrics(rows.assign(method="mtscon", interval="exact"))
    assert metrics["main/ga/exam/mae"] == 5.0
    assert metrics["obese/ga/exam/mae/n_patients"] == 31
    assert not any(math.isnan(value) for value in metrics.values())
    back = metrics_to_records(metrics | {"train/loss": 1.0, "a/b/c/d": 2.0, "time/n": 3.0})
    pd.testing.assert_frame_equal(back, rows)


def test_no_records_are_no_rows() -> None:
    assert list(metrics_to_records({"train/loss": 1.0}).columns) == RECORD_COLUMNS
    assert records_to_metrics(result_records(1.0).iloc[:0]) == {}
