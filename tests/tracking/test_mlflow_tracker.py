from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

import bsou_dist
from bsou_dist.common.errors import InputError
from bsou_dist.tracking.delivery import read_spool
from bsou_dist.tracking.mlflow_store import local_uri, read_runs
from bsou_dist.tracking.mlflow_tracker import MlflowTracker, resend
from bsou_dist.tracking.tracker import TAG_CODE, Tracker


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One SQLite store for the module: making its tables takes seconds, so tests differ by
    experiment.
    """
    return local_uri(tmp_path_factory.mktemp("store"))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def record_run(tracker: Tracker, folder: Path, parent: str | None = None) -> str:
    run = tracker.start(
        "stage",
        parent=parent,
        params={"train": {"lr": 6e-5, "tasks": ["a", "b"]}, "long": "x" * 9000},
        tags={"bsou.stage": "1"},
    )
    for step in range(3):
        tracker.metrics({"train/loss": 3.0 - step}, step)
    tracker.metrics({"main/t/exam/mae": 5.5})
    note = folder / "note.txt"
    note.write_text("kept")
    tracker.artifact(note)
    tracker.finish("FINISHED")
    return run


def raw_runs(client: MlflowClient, experiment: str) -> list[Run]:
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return list(client.search_runs([found.experiment_id]))


def test_a_run_comes_back_from_sqlite_with_all_it_recorded(store: str, tmp_path: Path) -> None:
    tracker = MlflowTracker(store, "whole", tmp_path / "run" / "tracking.jsonl", wait_s=60)
    run = record_run(tracker, tmp_path)

    [found] = read_runs(store, "whole")
    assert (found.run_id, found.name, found.status) == (run, "stage", "FINISHED")
    assert found.metrics == {"train/loss": 1.0, "main/t/exam/mae": 5.5}
    assert found.tags["bsou.stage"] == "1"
    assert found.tags[TAG_CODE].startswith(bsou_dist.__version__)
    client = MlflowClient(tracking_uri=store)
    [raw] = raw_runs(client, "whole")
    assert raw.data.params["train.lr"] == "6e-05"
    assert raw.data.params["train.tasks"] == "['a', 'b']"
    assert len(raw.data.params["long"]) == 6000
    assert raw.data.params["long"].endswith("x…")
    history = client.get_metric_history(raw.info.run_id, "train/loss")
    assert [(point.step, point.value) for point in history] == [(0, 3.0), (1, 2.0), (2, 1.0)]
    database = Path(store.removeprefix("sqlite:///"))
    assert [path.read_text() for path in (database.parent / "artifacts").rglob("note.txt")] == [
        "kept"
    ]


def test_a_child_finds_its_parent_through_another_tracker(store: str, tmp_path: Path) -> None:
    parent = record_run(MlflowTracker(store, "family", tmp_path / "1.jsonl", wait_s=60), tmp_path)
    child = record_run(
        MlflowTracker(store, "family", tmp_path / "2.jsonl", wait_s=60), tmp_path, parent=parent
    )

    raw = {
        run.data.tags["bsou.run"]: run
        for run in raw_runs(MlflowClient(tracking_uri=store), "family")
    }
    assert raw[child].data.tags["mlflow.parentRunId"] == raw[parent].info.run_id
    assert "mlflow.parentRunId" not in raw[parent].data.tags


def test_sending_a_spool_again_changes_nothing(store: str, tmp_path: Path) -> None:
    spool = tmp_path / "tracking.jsonl"
    record_run(MlflowTracker(store, "again", spool, wait_s=60), tmp_path)
    before = read_runs(store, "again")
    assert resend(spool, store) == 7
    assert read_runs(store, "again") == before


def warnings_about(spool: Path, caplog: pytest.LogCaptureFixture) -> list[str]:
    """Only of this spool: the threads of other tests may still be trying to reach their stores."""
    return [record.message for record in caplog.records if str(spool) in record.message]


def test_a_server_that_never_answers_does_not_hold_training_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A call that waited for an answer would take an hour.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3600")
    spool = tmp_path / "tracking.jsonl"
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        tracker = MlflowTracker(
            f"http://127.0.0.1:{silent.getsockname()[1]}", "silent", spool, wait_s=0.5
        )
        record_run(tracker, tmp_path)
        assert ["not everything" in message for message in warnings_about(spool, caplog)] == [True]
        assert len(spool.read_text().splitlines()) == 7


def test_a_dead_server_is_told_once_and_its_spool_can_be_sent_later(
    store: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = tmp_path / "tracking.jsonl"
    # finish does not wait for a store that is known to be down, or it would wait for an hour.
    tracker = MlflowTracker(
        f"http://127.0.0.1:{free_port()}", "dead", spool, wait_s=3600, retry_s=0.05
    )
    run = tracker.start("stage", parent=None, params={"a": 1}, tags={})
    for step in range(200):
        tracker.metrics({"train/loss": 1.0}, step)
    tracker.finish("FINISHED")
    time.sleep(1)  # many attempts, no more warnings
    told = warnings_about(spool, caplog)
    assert [
        sum(text in message for message in told) for text in ("training goes on", "not everything")
    ] == [1, 1]
    events = [json.loads(line)["event"] for line in spool.read_text().splitlines()]
    assert events == ["start"] + ["metrics"] * 200 + ["finish"]

    spool.write_text(spool.read_text() + '{"event": "metr')  # as a killed process leaves it
    assert resend(spool, store) == 202
    [found] = read_runs(store, "dead")
    assert (found.run_id, found.status, found.metrics) == (run, "FINISHED", {"train/loss": 1.0})


def test_resend_to_a_dead_server_is_the_users_to_mend(tmp_path: Path) -> None:
    spool = tmp_path / "tracking.jsonl"
    with pytest.raises(InputError, match="no tracking spool"):
        resend(spool, "http://127.0.0.1:1")
    spool.write_text(
        json.dumps({"event": "finish", "run": "r", "time_ms": 1, "status": "FINISHED"}) + "\n"
    )
    with pytest.raises(InputError, match="out of reach"):
        resend(spool, f"http://127.0.0.1:{free_port()}")


def test_what_the_store_refuses_does_not_hold_up_the_rest(
    store: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = MlflowTracker(store, "refusal", tmp_path / "tracking.jsonl", wait_s=60)
    tracker.start("stage", parent=None, params={}, tags={})
    tracker.metrics({"a key MLflow forbids: $": 1.0})
    tracker.artifact(tmp_path / "gone.txt")
    tracker.metrics({"good": 2.0})
    tracker.finish("FAILED")
    [found] = read_runs(store, "refusal")
    assert (found.status, found.metrics) == ("FAILED", {"good": 2.0})
    assert ["training goes on" in message for message in warnings_about(tmp_path, caplog)] == [True]


@contextmanager
def server(folder: Path, port: int) -> Iterator[None]:
    """A real MLflow server, killed at the end."""
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--workers",
            "1",
            "--backend-store-uri",
            f"sqlite:///{folder}/server.db",
            "--artifacts-destination",
            str(folder / "kept"),
        ],
        cwd=folder,
        env=os.environ | quiet,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_real_server_takes_runs_and_artifacts_and_may_go_away(tmp_path: Path) -> None:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with server(tmp_path, port):
        # The tracker is opened before the server answers: what it could not send at first arrives
        # all the same.
        tracker = MlflowTracker(
            address, "served", tmp_path / "tracking.jsonl", wait_s=60, retry_s=0.1
        )
        tracker.start("early", parent=None, params={}, tags={})
        tracker.finish("FINISHED")
        assert eventually(
            lambda: [run.status for run in read_runs(address, "served")] == ["FINISHED"]
        )
        record_run(tracker, tmp_path)
        assert [run.name for run in read_runs(address, "served")] == ["stage", "early"]
        assert [path.read_text() for path in (tmp_path / "kept").rglob("note.txt")] == ["kept"]
        assert tracker.address == address
        tracker.start("interrupted", parent=None, params={}, tags={})
        tracker.metrics({"loss": 3.0}, 1)
        assert eventually(lambda: read_runs(address, "served")[0].metrics == {"loss": 3.0})
    for step in range(2, 6):  # while it is away
        tracker.metrics({"loss": 3.0 - step}, step)
    with server(tmp_path, port):
        tracker.finish("FINISHED")
        assert eventually(lambda: read_runs(address, "served")[0].status == "FINISHED")
        client = MlflowClient(address)
        history = client.get_metric_history(raw_runs(client, "served")[0].info.run_id, "loss")
        assert [(point.step, point.value) for point in history] == [
            (1, 3.0),
            *((s, 3.0 - s) for s in range(2, 6)),
        ]


def eventually(holds: Callable[[], bool], seconds: float = 300.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if holds():
                return True
        except InputError:  # the server is still starting
            pass
        time.sleep(0.1)
    return False


def test_steps_that_are_done_again_are_on_record_once(store: str, tmp_path: Path) -> None:
    """A crash, for one, which left half an event behind."""
    spool = tmp_path / "tracking.jsonl"
    first = MlflowTracker(store, "again", spool)
    run = first.start("stage", parent=None, params={}, tags={})
    for step in (1, 2, 3):
        first.metrics({"loss": float(step)}, step)
    first.finish("FAILED")
    with spool.open("a") as file:
        file.write('{"event": "metr')
    second = MlflowTracker(store, "again", spool)
    assert second.start("stage", parent=None, params={}, tags={}, run=run) == run
    for step in (2, 3, 4):
        second.metrics({"loss": float(step), "other": 0.0}, step)
    second.finish("FINISHED")
    client = MlflowClient(store)
    history = client.get_metric_history(raw_runs(client, "again")[0].info.run_id, "loss")
    assert [point.step for point in history] == [1, 2, 3, 4]
    assert [event["event"] for event in read_spool(spool)] == [
        "start",
        *["metrics"] * 3,
        "finish",
        "start",
        *["metrics"] * 3,
        "finish",
    ]


def test_addresses(store: str, tmp_path: Path) -> None:
    tracker = MlflowTracker(store, "address", tmp_path / "tracking.jsonl")
    assert tracker.address.endswith(f"mlflow ui --backend-store-uri {store}")
    for uri in ("runs/mlflow.db", "file:///mlruns", ""):
        with pytest.raises(InputError, match="sqlite:///PATH"):
            MlflowTracker(uri, "address", tmp_path / "other.jsonl")


def test_reading_what_is_not_there_names_what_is(store: str, tmp_path: Path) -> None:
    record_run(MlflowTracker(store, "present", tmp_path / "tracking.jsonl", wait_s=60), tmp_path)
    with pytest.raises(InputError, match=r"no experiment 'absent' in .*present"):
        read_runs(store, "absent")
    with pytest.raises(InputError, match="no MLflow store at"):
        read_runs(local_uri(tmp_path), "present")
    assert not (tmp_path / "mlflow.db").exists()
    with pytest.raises(InputError, match="out of reach"):
        read_runs(f"http://127.0.0.1:{free_port()}", "present")


def test_mlflow_is_imported_late_and_never_phones_home(tmp_path: Path) -> None:
    program = f"""
import socket, sys
from pathlib import Path
import bsou_dist.tracking.compare
from bsou_dist.tracking.delivery import read_spool
from bsou_dist.tracking.mlflow_store import local_uri
from bsou_dist.tracking.mlflow_tracker import MlflowTracker
assert "mlflow" not in sys.modules
def refuse(*address, **options):
    print("looks for", address)
    raise OSError("no network here")
socket.getaddrinfo = socket.socket.connect = refuse
folder = Path({str(tmp_path)!r})
tracker = MlflowTracker(local_uri(folder), "quiet", folder / "tracking.jsonl", wait_s=60)
tracker.start("run", parent=None, params={{}}, tags={{}})
tracker.metrics({{"loss": 1.0}}, 0)
tracker.finish("FINISHED")
from mlflow.telemetry import get_telemetry_client
assert get_telemetry_client() is None
"""
    # Outside pytest and CI, where MLflow's telemetry is on unless switched off.
    plain = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", program], env=plain, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
