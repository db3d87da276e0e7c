"""Training on two nodes of a real cluster: what it learns, and what becomes of it when it is
disturbed.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from real_cluster import Cluster, ended, wait_until

from bsou_dist.cli import main
from bsou_dist.cluster.states import State, _from_accounts

pytestmark = pytest.mark.slurm

EPOCHS = 12
SAVED = "step-*.pt"
CANNOT_DIFFER = 1e-6  # the same processes do the same sums
SLOW_AT_FIRST = """
import os, time

def fsync(file):
    if "SLURM_RESTART_COUNT" not in os.environ:
        time.sleep(5)
    return _fsync(file)

_fsync, os.fsync = os.fsync, fsync
"""


@pytest.fixture(scope="module")
def runs(small_config: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a config of stage 1; the runs of all tests here lie in it too."""
    folder = tmp_path_factory.mktemp("runs")
    small_config(
        folder,
        output=str(folder),
        checkpoint={"every_steps": 5},
        finetune=None,
        pretrain={
            "method": "mtscon",
            "global_batch": 9,
            "epochs": EPOCHS,
            "optim": {"learning_rate": 1e-5},
        },
    )
    return folder


@pytest.fixture(scope="module")
def limited(
    cluster: Cluster, runs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[subprocess.Popen[str]]:
    """A run with a time limit.

    SLURM looks at limits every 30 seconds, so that the signal comes 45 to 75 seconds after the
    start: to a run that trains, not to a Python that starts.
    """
    slow = tmp_path_factory.mktemp("slow")
    (slow / "sitecustomize.py").write_text(SLOW_AT_FIRST)
    process = cluster.start(
        runs / "config.yaml",
        "name=limited",
        "--nodes=2",
        "--time=2",
        "--signal-lead-s=75",
        f"--env=PYTHONPATH={slow}",
    )
    yield process
    process.kill()


@pytest.fixture(scope="module")
def undisturbed(cluster: Cluster, runs: Path) -> Path:
    """Folder of a run on two nodes that nothing happened to."""
    done = cluster.run(runs / "config.yaml", "name=undisturbed", "--nodes=2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stage 1 is done" in done.stdout, "the first task's log is shown"
    return runs / "undisturbed"


def losses(run: Path) -> list[float]:
    """Mean training loss of every epoch, as tracked."""
    events = [json.loads(line) for line in (run / "tracking.jsonl").read_text().splitlines()]
    values = [event["values"] for event in events if "train/epoch_loss" in event.get("values", {})]
    return [value["train/epoch_loss"] for value in values]


def weights(run: Path) -> dict[str, torch.Tensor]:
    network: dict[str, torch.Tensor] = torch.load(run / "pretrain/best.pt", weights_only=True)[
        "network"
    ]
    return network


def assert_same(run: Path, other: Path) -> None:
    assert losses(run) == pytest.approx(losses(other), rel=CANNOT_DIFFER)
    for name, value in weights(other).items():
        torch.testing.assert_close(
            weights(run)[name], value, rtol=CANNOT_DIFFER, atol=CANNOT_DIFFER, msg=name
        )


def test_two_nodes_learn_what_one_process_learns(undisturbed: Path, runs: Path) -> None:
    assert main(["train", str(runs / "config.yaml"), "name=alone", "pretrain.epochs=3"]) == 0
    alone = losses(runs / "alone")
    assert len(alone) == 3
    assert losses(undisturbed)[:3] == pytest.approx(alone, abs=1e-4)
    assert max(losses(undisturbed)) - min(losses(undisturbed)) > 3e-3, "training must matter"
    [submitted] = (undisturbed / "slurm").iterdir()
    assert len(list(submitted.glob("*_log.out"))) == 2, "a log for each task"


def test_accounts_tell_what_the_queue_may_have_forgotten(
    cluster: Cluster, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    job = cluster.job(undisturbed.name)["JobId"]
    wait_until(
        lambda: _from_accounts([job]).get(job) == State("COMPLETED"), "the accounts, which lag"
    )
    assert _from_accounts([job, "999"]).keys() == {job}


@pytest.mark.slow
def test_a_job_that_is_signalled_and_then_loses_a_node_ends_as_the_undisturbed_one(
    cluster: Cluster, runs: Path, undisturbed: Path
) -> None:
    checkpoints = runs / "disturbed/pretrain"
    process = cluster.start(runs / "config.yaml", "name=disturbed", "--nodes=2")
    wait_until(lambda: list(checkpoints.glob(SAVED)), "the first checkpoint")
    signalled = host_of_second_task(cluster, "disturbed")
    cluster.control("on", signalled, "kill", "-USR2", *task_ids(cluster, signalled, "disturbed"))
    wait_until(lambda: cluster.job("disturbed")["Restarts"] == "1", "the job to be put back")

    before = set(checkpoints.glob(SAVED))
    wait_until(lambda: set(checkpoints.glob(SAVED)) - before, "another checkpoint")
    host = host_of_second_task(cluster, "disturbed")
    cluster.control("poweroff", host)
    try:
        done = ended(process)
    finally:
        cluster.control("poweron", host)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stopped by SIGUSR2" in done.stdout
    assert "put into the queue again" in done.stdout
    assert int(cluster.job("disturbed")["Restarts"]) >= 2, "more if a start met the dead node"
    assert host not in cluster.job("disturbed")["NodeList"]
    assert_same(runs / "disturbed", undisturbed)


def host_of_second_task(cluster: Cluster, job: str) -> str:
    return host_of_task(cluster, job, task=1)


def host_of_task(cluster: Cluster, job: str, *, task: int) -> str:
    [host] = [node for node in ("n1", "n2", "n3") if task_ids(cluster, node, job, task=task)]
    return host


def task_ids(cluster: Cluster, node: str, job: str, *, task: int = 1) -> list[str]:
    """Process ids, in the eyes of a node, of a job's task if it runs there."""
    script = (
        "cd /proc; for id in [0-9]*; do tr '\\0' ' ' <$id/cmdline | grep -q 'python.* "
        "submitit.core._submit' && "
        f"grep -qz '^SLURM_JOB_NAME={job}$' $id/environ && "
        f"grep -qz '^SLURM_PROCID={task}$' $id/environ && echo $id; done 2>/dev/null; true"
    )
    return cluster.control("on", node, "sh", "-c", script).stdout.split()


@pytest.mark.slow
def test_a_signal_at_the_start_and_a_killed_task_lose_nothing_and_a_cancelled_job_stays_so(
    cluster: Cluster, runs: Path
) -> None:
    checkpoints = runs / "early/pretrain"
    process = cluster.start(runs / "config.yaml", "name=early", "--nodes=1")
    wait_until(lambda: cluster.job("early").get("JobState") == "RUNNING", "the job to start")
    job = cluster.job("early")["JobId"]
    subprocess.run(["scancel", "--signal=USR2", job], env=cluster.environment, check=True)
    wait_until(lambda: list(checkpoints.glob(SAVED)), "the first checkpoint")
    assert cluster.job("early")["Restarts"] == "1"

    host = host_of_task(cluster, "early", task=0)
    cluster.control("on", host, "kill", "-KILL", *task_ids(cluster, host, "early", task=0))
    wait_until(lambda: cluster.job("early")["Restarts"] == "2", "the job to be put back")
    before = set(checkpoints.glob(SAVED))
    wait_until(lambda: set(checkpoints.glob(SAVED)) - before, "another checkpoint")

    subprocess.run(["scancel", job], env=cluster.environment, check=True)
    done = ended(process)
    assert done.returncode not in (0, 2)
    assert "failed with exit code 137 after a new checkpoint, and put into the queue again" in (
        done.stdout
    )
    assert "stopped by SIGTERM" in done.stdout
    wait_until(lambda: cluster.job("early")["JobState"] == "CANCELLED", "the job to end")


@pytest.mark.slow
def test_a_run_that_meets_its_time_limit_goes_on_where_it_stopped(
    cluster: Cluster, limited: subprocess.Popen[str], runs: Path, undisturbed: Path
) -> None:
    done = ended(limited)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(cluster.job("limited")["Restarts"]) >= 1
    assert "stopped by SIGUSR2" in done.stdout
    assert_same(runs / "limited", undisturbed)
