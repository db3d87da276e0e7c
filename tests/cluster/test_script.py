"""Batch scripts: what becomes of a job's options in them, and what they do when they run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bsou_dist.cluster.options import DEFAULT_ENVIRONMENT, SlurmOptions
from bsou_dist.cluster.plan import Plan, Step
from bsou_dist.cluster.submit import scripts


def script(*commands: tuple[str, ...], after: tuple[str, ...] = (), **options: Any) -> str:
    """Batch script of a step with these commands and options, after others of these names."""
    commands = commands or (("train", "config.yaml"),)
    step = Step("run", commands, SlurmOptions(**options), after=after)
    steps_before = [Step(name, (("train", "a.yaml"),), SlurmOptions()) for name in after]
    plan = Plan((*steps_before, step), Path("/somewhere/slurm"))
    return scripts(plan)[-1]


@pytest.mark.parametrize("limit", ["90", "24:00:00", "30:00", "2-12", "1-00:30:00"])
def test_time_limits_as_slurm_writes_them(limit: str) -> None:
    assert f"#SBATCH --time={limit}\n" in script(time=limit)


def test_one_task_for_each_gpu() -> None:
    text = script(
        nodes=4,
        gpus_per_node=8,
        cpus_per_task=12,
        mem="500G",
        partition="a100",
        account="us",
        qos="long",
        constraint="ib",
        exclusive=True,
        signal_lead_s=300,
        sbatch={"reservation": "night"},
    )
    for line in (
        "nodes=4",
        "gpus-per-node=8",
        "ntasks-per-node=8",
        "cpus-per-task=12",
        "mem=500G",
        "partition=a100",
        "account=us",
        "qos=long",
        "constraint=ib",
        "exclusive",
        "signal=USR2@300",
        "requeue",
        "reservation=night",
        "job-name=run",
    ):
        assert f"#SBATCH --{line}\n" in text
    [srun] = [line for line in text.splitlines() if line.startswith("srun -")]
    assert {"--kill-on-bad-exit=1", "--wait=0", "--cpus-per-task=12"} <= set(srun.split())
    assert "--time=" not in text, "no limit asked for: the partition's own"
    assert "CUDA_VISIBLE_DEVICES" not in text


def test_environment_has_defaults_that_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = script(
        env={"NCCL_DEBUG": "INFO", "NCCL_SOCKET_IFNAME": "ib0; rm"}, cpus_per_task=6
    ).splitlines()
    assert "export OMP_NUM_THREADS=${OMP_NUM_THREADS:-6}" in lines
    assert "export NCCL_DEBUG=INFO" in lines
    assert "export NCCL_SOCKET_IFNAME='ib0; rm'" in lines
    for name in DEFAULT_ENVIRONMENT.keys() - {"NCCL_DEBUG"}:
        assert f"export {name}=${{{name}:-{DEFAULT_ENVIRONMENT[name]}}}" in lines


def test_an_apptainer_image_wraps_the_interpreter() -> None:
    text = script(container="images/bsou.sif", bind=["/data"])
    here = Path.cwd()
    assert (
        f"apptainer exec --nv --bind {here} --bind /somewhere/slurm/DATE --bind /data --pwd {here} "
        "images/bsou.sif python3 -m bsou_dist.cluster.blocked_signals -u -m submitit.core._submit"
        in text
    )
    assert "--nv" not in script(container="images/bsou.sif", gpus_per_node=0)


def test_any_other_image_is_given_to_pyxis() -> None:
    text = script(container="bsou.sqsh", bind=["/data"])
    [srun] = [line for line in text.splitlines() if line.startswith("srun -")]
    assert "--container-image=bsou.sqsh" in srun
    here, logs = Path.cwd(), "/somewhere/slurm/DATE"
    assert f"--container-mounts={here}:{here},{logs}:{logs},/data:/data" in srun
    assert " python3 -m bsou_dist.cluster.blocked_signals" in srun


def test_arrays_and_dependencies() -> None:
    text = script(("train", "a"), ("train", "b"), after=("first",))
    assert "#SBATCH --array=0-1%2\n" in text
    assert "#SBATCH --dependency='afterok:<id of first>'\n" in text
    assert "#SBATCH --kill-on-invalid-dep=yes\n" in text
    assert "/%A_%a_0_log.out" in text


RUNNING = "JobState=RUNNING Reason=None"


def run_script(folder: Path, srun: str, *, job_state: str, restarts: int = 0) -> int:
    """Exit code of the script itself, with stand-ins for srun and scontrol.

    What is put back into the queue is written to `requeued`; tests/slurm has the real ones.
    """
    options = SlurmOptions(max_restarts=3, max_failures=2)
    plan = Plan((Step("run", (("train", "a"),), options),), folder)
    (folder / "DATE").mkdir(exist_ok=True)
    answer = f'[ "$1" = requeue ] && echo "$2" >>{folder}/requeued || echo " {job_state} "'
    for name, body in {"srun": srun, "scontrol": answer}.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    environment = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "SLURM_JOB_ID": "7",
        "SLURM_RESTART_COUNT": str(restarts),
    }
    return subprocess.run(
        ["bash", "-c", scripts(plan)[0]], check=False, env=os.environ | environment
    ).returncode


@pytest.mark.parametrize(
    ("code", "job_state", "restarts", "result", "requeued"),
    [
        (0, RUNNING, 0, 0, False),
        (1, RUNNING, 0, 1, False),
        ("mark", RUNNING, 0, 75, True),
        ("mark", "JobState=COMPLETING Reason=TimeLimit", 0, 75, True),
        ("mark", "JobState=COMPLETING Reason=None", 0, 75, False),  # scancel
        ("mark", RUNNING, 3, 75, False),
        (140, RUNNING, 0, 75, True),  # SIGUSR2 before Python had started
        (233, RUNNING, 0, 233, True),  # a node did not answer
        (233, RUNNING, 3, 233, False),
    ],
)
def test_the_script_requeues_what_was_told_to_stop_or_never_launched(
    tmp_path: Path, code: int | str, job_state: str, restarts: int, result: int, requeued: bool
) -> None:
    stopped = tmp_path / "DATE/7_stopped"
    srun = f"touch {stopped}; exit 143" if code == "mark" else f"exit {code}"
    assert run_script(tmp_path, srun, job_state=job_state, restarts=restarts) == result
    assert (tmp_path / "requeued").exists() == requeued
    assert not stopped.exists()


@pytest.mark.parametrize("code", [1, 137])
def test_a_failure_after_a_checkpoint_goes_back_a_bounded_number_of_times(
    tmp_path: Path, code: int
) -> None:
    for _ in range(4):
        saved_and_failed = f'touch "$BSOU_PROGRESS"; exit {code}'
        assert run_script(tmp_path, saved_and_failed, job_state=RUNNING) == code
    assert (tmp_path / "requeued").read_text().split() == ["7", "7"], "max_failures"


@pytest.mark.parametrize(
    ("srun", "job_state"),
    [
        ("exit 1", RUNNING),  # it would fail at the same place
        ('touch "$BSOU_PROGRESS"; exit 2', RUNNING),  # the user's input is at fault
        ('touch "$BSOU_PROGRESS"; exit 1', "JobState=COMPLETING Reason=None"),  # scancel
    ],
)
def test_what_would_fail_again_is_not_put_back(tmp_path: Path, srun: str, job_state: str) -> None:
    (tmp_path / "DATE").mkdir()
    (tmp_path / "DATE/7_progress").touch()  # of the start before: it says nothing of this one
    run_script(tmp_path, srun, job_state=job_state)
    assert not (tmp_path / "requeued").exists()
