"""Result records as metrics of a run, and back.

A record is a row of task, set, level, metric, value, low, high, n, n_patients. The run of its
method keeps the value under the key `{set}/{task}/{level}/{metric}`, and under the same key with a
suffix of `FIELDS` what belongs to it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

NAMES = ["task", "set", "level", "metric"]
FIELDS = ["low", "high", "n", "n_patients"]
RECORD_COLUMNS = [*NAMES, "value", *FIELDS]
COLUMN_TYPES = {
    "value": "float64",
    "low": "float64",
    "high": "float64",
    "n": "Int64",
    "n_patients": "Int64",
}


def records_to_metrics(records: pd.DataFrame) -> dict[str, float]:
    """Write the records of one run as its metrics.

    A missing number has no key, so a store never sees NaN. Columns besides `RECORD_COLUMNS` are
    passed over.
    """
    metrics: dict[str, float] = {}
    for row in records[RECORD_COLUMNS].to_dict("records"):
        key = _key(row)
        numbers = {key: row["value"]}
        for field in FIELDS:
            numbers[f"{key}/{field}"] = row[field]
        known = {name: float(number) for name, number in numbers.items() if not pd.isna(number)}
        assert not metrics.keys() & known.keys(), (
            f"two records for {key}; a run holds those of one method"
        )
        metrics |= known
    return metrics


def metrics_to_records(metrics: Mapping[str, float]) -> pd.DataFrame:
    """Find the records among a run's metrics, sorted by their names.

    Other metrics (losses, times) are passed over. A record is known by its number of cases `n`,
    which every record has.
    """
    rows = []
    for count_key in metrics:
        key, _, field = count_key.rpartition("/")
        names = key.split("/")
        if field != "n" or len(names) != len(NAMES):
            continue
        set_name, task, level, metric = names
        row: dict[str, Any] = {"task": task, "set": set_name, "level": level, "metric": metric}
        row["value"] = metrics.get(key, math.nan)
        for field in FIELDS:
            row[field] = metrics.get(f"{key}/{field}", math.nan)
        rows.append(row)
    records = pd.DataFrame(rows, columns=RECORD_COLUMNS).astype(COLUMN_TYPES)
    return records.sort_values(NAMES).reset_index(drop=True)


def _key(row: Mapping[Any, Any]) -> str:
    names = [row["set"], row["task"], row["level"], row["metric"]]
    assert not any("/" in name for name in names), (
        f"a '/' in one of {names} would make its key ambiguous"
    )
    return "/".join(names)
