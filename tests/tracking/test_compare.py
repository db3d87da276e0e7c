from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest

from bsou_dist.common.errors import InputError
from bsou_dist.tracking.compare import read_results
from bsou_dist.tracking.mlflow_tracker import MlflowTracker, local_uri
from bsou_dist.tracking.records import COLUMNS, metrics_to_records, records_to_metrics


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return local_uri(tmp_path_factory.mktemp("store"))


def records(mae: float, sets: tuple[str, ...] = ("main",)) -> pd.DataFrame:
    rows = [
        ("ga", set_name, "exam", metric, number, number - 1.0, number + 1.0, 40, 31)
        for set_name in sorted(sets)
        for metric, number in (("baseline_mae", 15.0), ("mae", mae))
    ]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"n": "Int64", "n_patients": "Int64"})


def log(
    store: str,
    experiment: str,
    folder: Path,
    rows: pd.DataFrame,
    method: str,
    status: str = "FINISHED",
    phantom: str = "True",
    data: str = "d1",
) -> None:
    tracker = MlflowTracker(store, experiment, folder / "tracking.jsonl", wait_s=60)
    tracker.start(
        f"stage2-{method}",
        parent=None,
        params={},
        tags={"bsou.method": method, "bsou.phantom": phantom, "bsou.data": data},
    )
    tracker.metrics({"train/loss": 0.5}, 3)
    tracker.metrics(records_to_metrics(rows))
    tracker.finish(status)  # type: ignore[arg-type]


def test_records_survive_the_way_through_metrics() -> None:
    rows = records(5.0, sets=("main", "obese"))
    rows.loc[0, ["value", "low", "high"]] = math.nan  # a metric that is not defined on these cases
    rows.loc[1, ["low", "high"]] = math.nan
    metrics = records_to_metrics(rows.assign(method="mtscon", interval="exact"))
    assert metrics["main/ga/exam/mae"] == 5.0
    assert metrics["obese/ga/exam/mae/n_patients"] == 31
    assert not any(math.isnan(value) for value in metrics.values())
    back = metrics_to_records(metrics | {"train/loss": 1.0, "a/b/c/d": 2.0, "time/n": 3.0})
    pd.testing.assert_frame_equal(back, rows)


def test_no_records_are_no_rows() -> None:
    assert list(metrics_to_records({"train/loss": 1.0}).columns) == COLUMNS
    assert records_to_metrics(records(1.0).iloc[:0]) == {}


def test_the_newest_finished_run_counts(store: str, tmp_path: Path) -> None:
    log(store, "newest", tmp_path, records(9.0, sets=("main", "obese")), "mtscon")
    log(store, "newest", tmp_path, records(8.0), "mtscon")
    log(store, "newest", tmp_path, records(5.0), "mtscon")
    log(store, "newest", tmp_path, records(6.0), "mtce")
    log(store, "newest", tmp_path, records(1.0), "mtce", status="FAILED")
    results = read_results(store, "newest")
    frame = results.records
    mae = frame[frame["metric"] == "mae"].set_index(["method", "set"])["value"].to_dict()
    assert mae == {("mtscon", "main"): 5.0, ("mtscon", "obese"): 9.0, ("mtce", "main"): 6.0}
    assert results.phantom is True
    assert list(results.tasks) == ["ga"]
    assert results.tasks["ga"].unit == "days"  # type: ignore[attr-defined]
    assert [note.split()[0] for note in results.notes] == [
        "1",
        "1",
    ]  # one older, one that failed


def test_other_data_is_noted_and_phantom_never_mixes_with_patients(
    store: str, tmp_path: Path
) -> None:
    log(store, "mixed", tmp_path, records(5.0), "mtscon")
    log(store, "mixed", tmp_path, records(5.0), "mtce", data="d2")
    [note] = read_results(store, "mixed").notes
    assert "2 different states of the data (d1, d2)" in note
    log(store, "mixed", tmp_path, records(5.0), "ucon", phantom="False")
    with pytest.raises(InputError, match="never share a table"):
        read_results(store, "mixed")


def test_an_experiment_without_results_says_so(store: str, tmp_path: Path) -> None:
    log(store, "failed", tmp_path, records(5.0), "mtscon", status="FAILED")
    with pytest.raises(InputError, match=r"no finished run with results yet \(1 runs"):
        read_results(store, "failed")
