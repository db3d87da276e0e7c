"""Made-up results of a run, as the tracker takes them."""

from __future__ import annotations

import pandas as pd

from bsou_dist.tracking.records import RECORD_COLUMNS


def result_records(mae: float, sets: tuple[str, ...] = ("main",)) -> pd.DataFrame:
    """The mean error of gestational age and its baseline, on each of `sets`."""
    rows = [
        ("ga", set_name, "exam", metric, number, number - 1.0, number + 1.0, 40, 31)
        for set_name in sorted(sets)
        for metric, number in (("baseline_mae", 15.0), ("mae", mae))
    ]
    return pd.DataFrame(rows, columns=RECORD_COLUMNS).astype({"n": "Int64", "n_patients": "Int64"})
