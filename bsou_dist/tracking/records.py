"""Result records as metrics of a run, and back.

A record is a row of method, task, set, level, metric, value, low, high, n, n_patients. In the run of its own method it
is kept under the key `{set}/{task}/{level}/{metric}`; a row of another method (the majority or mean predictor on the
same test set) has its method's name in front. The suffixes of `FIELDS` hold what belongs to the value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

COLUMNS = ["method", "task", "set", "level", "metric", "value", "low", "high", "n", "n_patients"]
FIELDS = ("low", "high", "n", "n_patients")
COUNTS = ["n", "n_patients"]


def records_to_metrics(records: pd.DataFrame, method: str) -> dict[str, float]:
    """Records as metrics for the run of `method`; a missing number has no key, so a store never sees NaN."""
    metrics: dict[str, float] = {}
    for row in records[COLUMNS].to_dict("records"):
        names = [row["set"], row["task"], row["level"], row["metric"]]
        if row["method"] != method:
            names.insert(0, row["method"])
        assert not any("/" in name for name in names), f"a '/' in one of {names} would make its key ambiguous"
        key = "/".join(names)
        numbers = {key: row["value"]} | {f"{key}/{field}": row[field] for field in FIELDS}
        metrics |= {name: float(number) for name, number in numbers.items() if not pd.isna(number)}
    return metrics


def metrics_to_records(metrics: Mapping[str, float], method: str) -> pd.DataFrame:
    """The records among the metrics of a run of `method`, sorted; other metrics (losses, times) are passed over.

    A record is known by its number of cases `n`, which every record has.
    """
    rows = []
    for count_key in sorted(metrics):
        key, _, field = count_key.rpartition("/")
        names = key.split("/")
        if field != "n" or len(names) not in (4, 5):
            continue
        *other, set_name, task, level, metric = names
        rows.append({"method": other[0] if other else method, "task": task, "set": set_name, "level": level,
                     "metric": metric, "value": metrics.get(key, math.nan)}
                    | {field: metrics.get(f"{key}/{field}", math.nan) for field in FIELDS})
    records = pd.DataFrame(rows, columns=COLUMNS)
    return records.astype({"value": float, "low": float, "high": float} | dict.fromkeys(COUNTS, "Int64"))
