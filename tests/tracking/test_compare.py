from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from result_records import result_records

from bsou_dist.common.errors import InputError
from bsou_dist.tasks.kinds.make import make_task
from bsou_dist.tracking.compare import read_results
from bsou_dist.tracking.mlflow_store import local_uri
from bsou_dist.tracking.mlflow_tracker import MlflowTracker
from bsou_dist.tracking.records import records_to_metrics


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return local_uri(tmp_path_factory.mktemp("store"))


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


def test_the_newest_finished_run_counts(store: str, tmp_path: Path) -> None:
    log(store, "newest", tmp_path, result_records(9.0, sets=("main", "obese")), "mtscon")
    log(store, "newest", tmp_path, result_records(8.0), "mtscon")
    log(store, "newest", tmp_path, result_records(5.0), "mtscon")
    log(store, "newest", tmp_path, result_records(6.0), "mtce")
    log(store, "newest", tmp_path, result_records(1.0), "mtce", status="FAILED")
    results = read_results(store, "newest")
    frame = results.records
    mae = frame[frame["metric"] == "mae"].set_index(["method", "set"])["value"].to_dict()
    assert mae == {("mtscon", "main"): 5.0, ("mtscon", "obese"): 9.0, ("mtce", "main"): 6.0}
    assert results.phantom is True
    assert list(results.tasks) == ["ga"]
    assert results.tasks["ga"].unit == "days"  # type: ignore[attr-defined]
    older, failed = results.notes
    assert older.startswith("1 older run(s)")
    assert failed.startswith("1 run(s) that did not finish")


def test_other_data_is_noted_and_phantom_never_mixes_with_patients(
    store: str, tmp_path: Path
) -> None:
    log(store, "mixed", tmp_path, result_records(5.0), "mtscon")
    log(store, "mixed", tmp_path, result_records(5.0), "mtce", data="d2")
    [note] = read_results(store, "mixed").notes
    assert "2 different states of the data (d1, d2)" in note
    log(store, "mixed", tmp_path, result_records(5.0), "ucon", phantom="False")
    with pytest.raises(InputError, match="never share a table"):
        read_results(store, "mixed")


def test_an_experiment_without_results_says_so(store: str, tmp_path: Path) -> None:
    log(store, "failed", tmp_path, result_records(5.0), "mtscon", status="FAILED")
    with pytest.raises(InputError, match=r"no finished run with results yet \(1 runs"):
        read_results(store, "failed")


def log_of_task(
    store: str, experiment: str, folder: Path, place: int, method: str = "MTCE", **fields: object
) -> None:
    """A run of stage 2 that has its task on record, as a run's context writes it."""
    task = make_task({"kind": "regression", "label": "x", "unit": "g", **fields})
    tags = {
        "bsou.method": method,
        "bsou.phantom": "True",
        "bsou.data": "d1",
        "bsou.task_record": json.dumps({"place": place, "task": task.model_dump(mode="json")}),
    }
    tracker = MlflowTracker(store, experiment, folder / "tracking.jsonl", wait_s=60)
    tracker.start("tuned", parent=None, params={}, tags=tags)
    tracker.metrics(records_to_metrics(result_records(5.0).assign(task=task.name)))
    tracker.finish("FINISHED")


def test_tasks_come_from_the_tracker_in_the_order_of_their_run(store: str, tmp_path: Path) -> None:
    log_of_task(store, "own", tmp_path, 2, name="age")
    log_of_task(store, "own", tmp_path, 0, name="weight", group="Mine")
    log_of_task(store, "own", tmp_path, 1, name="length")
    tasks = read_results(store, "own").tasks
    assert list(tasks) == ["weight", "length", "age"]
    assert tasks["weight"].group == "Mine"


def test_tasks_of_one_name_that_differ_never_share_a_column(store: str, tmp_path: Path) -> None:
    log_of_task(store, "torn", tmp_path, 0, name="weight")
    log_of_task(store, "torn", tmp_path, 0, name="weight", decimals=0)  # only looks otherwise
    assert list(read_results(store, "torn").tasks) == ["weight"]
    log_of_task(store, "torn", tmp_path, 0, "UCon", name="weight", unit="kg")
    with pytest.raises(InputError, match="different tasks of the name 'weight'"):
        read_results(store, "torn")


def test_a_task_without_a_record_must_be_one_of_the_papers(store: str, tmp_path: Path) -> None:
    log(store, "unknown", tmp_path, result_records(5.0).assign(task="weight"), "mtscon")
    with pytest.raises(InputError, match="results of task 'weight' and no record of what that is"):
        read_results(store, "unknown")
