"""Result records as metrics of a run, and back.

A record is a row of task, set, level, metric, value, low, high, n, n_patients. The run of its
method keeps the value under the key `{set}/{task}/{level}/{metric}`, and under the same key with a
suffix of `FIELDS` what belongs to it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

NAMES = ["task", "set", "level", "metric"]
FIELDS = ["low", "high", "n", "n_patients"]
COLUMNS = [*NAMES, "value", *FIELDS]


def records_to_metrics(records: pd.DataFrame) -> dict[str, float]:
    """Records of one run as its metrics; a missing number has no key, so a store never sees NaN.

    Columns besides `COLUMNS` are passed over.
    """
    metrics: dict[str, float] = {}
    for row in records[COLUMNS].to_dict("records"):
        names = [row["set"], row["task"], row["level"], row["metric"]]
        assert not any("/" in name for name in names), (
            f"a '/' in one of {names} would make its key ambiguous"
        )
        key = "/".join(names)
        numbers = {key: row["value"]} | {f"{key}/{field}": row[field] for field in FIELDS}
        fresh = {name: float(number) for name, number in numbers.items() if not pd.isna(number)}
        assert not metrics.keys() & fresh.keys(), (
            f"two records for {key}; a run holds those of one method"
        )
        metrics |= fresh
    return metrics


def metrics_to_records(metrics: Mapping[str, float]) -> pd.DataFrame:
    """The records among a run's metrics, sorted; other metrics (losses, times) are passed over.

    A record is known by its number of cases `n`, which every record has.
    """
    rows = []
    for count_key in metrics:
        key, _, field = count_key.rpartition("/")
        names = key.split("/")
        if field != "n" or len(names) != len(NAMES):
            continue
        set_name, task, level, metric = names
        numbers = {field: metrics.get(f"{key}/{field}", math.nan) for field in FIELDS}
        rows.append(
            {
                "task": task,
                "set": set_name,
                "level": level,
                "metric": metric,
                "value": metrics.get(key, math.nan),
            }
            | numbers
        )
    types = dict.fromkeys(("value", "low", "high"), "float64") | dict.fromkeys(
        ("n", "n_patients"), "Int64"
    )
    return (
        pd.DataFrame(rows, columns=COLUMNS).astype(types).sort_values(NAMES).reset_index(drop=True)
    )
