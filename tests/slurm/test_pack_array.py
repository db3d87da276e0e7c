"""Packing as an array of jobs on a real cluster, one of which is disturbed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from real_cluster import Cluster, ended, wait_until

from bsou_dist.cli import main

pytestmark = pytest.mark.slurm

SETTINGS = ("prepare.size_px=48", "shard_clips=4")
HELD_BACK = """
import os, time

def fsync(file):
    while os.path.exists({hold!r}):
        time.sleep(0.1)
    return _fsync(file)

_fsync, os.fsync = os.fsync, fsync
"""


@pytest.fixture(scope="module")
def whole(few_clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packed by one process."""
    out = tmp_path_factory.mktemp("whole") / "shards"
    assert main(["pack", str(few_clips), str(out), *SETTINGS]) == 0
    return out


class Held:
    """An array of three jobs that wait before their first shard is whole."""

    def __init__(
        self, cluster: Cluster, few_clips: Path, whole: Path, folder: Path, name: str
    ) -> None:
        self.cluster, self.out, self.hold, self.name = (
            cluster,
            folder / "shards",
            folder / "hold",
            name,
        )
        shutil.copytree(whole.with_name("shards.private"), folder / "shards.private")
        self.hold.touch()
        (folder / "sitecustomize.py").write_text(HELD_BACK.format(hold=str(self.hold)))
        self.command = [
            "pack",
            str(few_clips),
            str(self.out),
            *SETTINGS,
            "--executor=slurm",
            "--array=3",
            "--follow",
            "--cpus-per-task=1",
            f"--job-name={name}",
            f"--env=PYTHONPATH={folder}",
        ]
        self.process = cluster.start_bsou(*self.command)
        wait_until(
            lambda: len(list(self.out.glob("*.tar.tmp"))) == 3, "three jobs to pack", timeout_s=600
        )

    def task(self, number: int) -> dict[str, str]:
        return next(
            job for job in self.cluster.jobs(self.name) if job.get("ArrayTaskId") == str(number)
        )

    def end(self) -> subprocess.CompletedProcess[str]:
        self.hold.unlink()
        return ended(self.process)


def assert_same(out: Path, whole: Path) -> None:
    assert {path.name for path in out.iterdir()} == {path.name for path in whole.iterdir()}
    for path in whole.iterdir():
        assert (out / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.mark.slow
def test_an_array_packs_what_one_process_packs_though_a_job_is_put_back(
    cluster: Cluster, few_clips: Path, whole: Path, tmp_path: Path
) -> None:
    held = Held(cluster, few_clips, whole, tmp_path, "put-back")
    subprocess.run(
        ["scancel", "--signal=USR2", held.task(1)["JobId"]], env=cluster.environment, check=True
    )
    wait_until(lambda: held.task(1).get("Restarts") == "1", "the job to be put back")
    done = held.end()
    assert done.returncode == 0, done.stdout + done.stderr
    for title in ("pack 1/3", "pack 2/3", "pack 3/3", "pack-finish"):
        assert f"{title}: COMPLETED" in done.stdout
    assert "48 clips" in done.stdout, "the log of the last job is shown"
    assert_same(held.out, whole)
    [log] = (tmp_path / "shards.slurm").glob("*/*_1_0_log.out")
    assert "stopped by SIGUSR2" in log.read_text()
    assert "put into the queue again" in log.read_text()


def test_after_a_job_was_killed_the_same_command_goes_on(
    cluster: Cluster, few_clips: Path, whole: Path, tmp_path: Path
) -> None:
    held = Held(cluster, few_clips, whole, tmp_path, "killed")
    node = held.task(2)["NodeList"]
    script = (
        "cd /proc; for id in [0-9]*; do tr '\\0' ' ' <$id/cmdline | grep -q 'python.* "
        "submitit.core._submit' && "
        "grep -qz '^SLURM_ARRAY_TASK_ID=2$' $id/environ && kill -KILL $id; done 2>/dev/null; true"
    )
    cluster.control("on", node, "sh", "-c", script)
    done = held.end()
    assert done.returncode == 1, done.stdout + done.stderr
    assert "pack 3/3: FAILED, exit code 137; see " in done.stdout
    assert "pack-finish: CANCELLED" in done.stdout
    records = {path.name for path in (held.out / ".parts").glob("0*.json")}
    assert len(records) == 8, "two shares of four shards"
    again = ended(cluster.start_bsou(*held.command))
    assert again.returncode == 0, again.stdout + again.stderr
    assert_same(held.out, whole)
