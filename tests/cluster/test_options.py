"""Options of a job: what is refused, and what they become in the batch script."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bsou_dist.cluster.options import DEFAULT_ENVIRONMENT, SlurmOptions
from bsou_dist.cluster.plan import Plan, Step
from bsou_dist.cluster.submit import scripts


def script(*commands: tuple[str, ...], after: tuple[str, ...] = (), **options: Any) -> str:
    step = Step(
        "run", commands or (("train", "config.yaml"),), SlurmOptions(**options), after=after
    )
    first = tuple(Step(name, (("train", "a.yaml"),), SlurmOptions()) for name in after)
    return scripts(Plan((*first, step), Path("/somewhere/slurm")))[-1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nodes": 0}, "greater than or equal to 1"),
        ({"gpus_per_node": 4, "tasks_per_node": 2}, "each GPU gets one task"),
        ({"time": 86400}, "in quotes"),
        ({"time": "a day"}, "'a day' is not a time limit"),
        ({"time": "2"}, "told to save as soon as it has started"),
        ({"time": "0:1:30"}, "told to save as soon as it has started"),
        ({"bind": ["/a:b"]}, "which containers take for their own"),
        ({"mem": "64 gigabytes"}, "is not an amount of memory"),
        ({"partition": "a\n#SBATCH --uid=0"}, "is not a name that SLURM takes"),
        ({"env": {"A B": "1"}}, "is not the name of an environment variable"),
        ({"sbatch": {"signal": "TERM"}}, "is set by this launcher"),
        ({"sbatch": {"nodes": "3"}}, "is set by this launcher"),
        ({"sbatch": {"reservation": "a b"}}, "is not an option of sbatch"),
        ({"gpu": 1}, "Extra inputs"),
    ],
)
def test_what_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SlurmOptions(**options)


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
    assert (
        f"apptainer exec --nv --bind {Path.cwd()} --bind /somewhere/slurm/DATE --bind /data --pwd "
        f"{Path.cwd()} "
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


@pytest.mark.parametrize(
    ("code", "facts", "restarts", "result", "requeued"),
    [
        (0, "JobState=RUNNING Reason=None", 0, 0, False),
        (1, "JobState=RUNNING Reason=None", 0, 1, False),
        ("mark", "JobState=RUNNING Reason=None", 0, 75, True),
        ("mark", "JobState=COMPLETING Reason=TimeLimit", 0, 75, True),
        ("mark", "JobState=COMPLETING Reason=None", 0, 75, False),  # scancel
        ("mark", "JobState=RUNNING Reason=None", 3, 75, False),
        (140, "JobState=RUNNING Reason=None", 0, 75, True),  # SIGUSR2 before Python had started
    ],
)
def test_the_script_requeues_what_was_told_to_stop(
    tmp_path: Path, code: int | str, facts: str, restarts: int, result: int, requeued: bool
) -> None:
    """The script itself, with stand-ins for srun and scontrol; tests/slurm has the real ones."""
    plan = Plan((Step("run", (("train", "a"),), SlurmOptions(max_restarts=3)),), tmp_path)
    (tmp_path / "DATE").mkdir()
    tools = {
        "srun": f"touch {tmp_path}/DATE/7_stopped; exit 143" if code == "mark" else f"exit {code}",
        "scontrol": f'[ "$1" = requeue ] && echo "$2" >>{tmp_path}/requeued || echo " {facts} "',
    }
    for name, body in tools.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["bash", "-c", scripts(plan)[0]],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ
        | {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "SLURM_JOB_ID": "7",
            "SLURM_RESTART_COUNT": str(restarts),
        },
    )
    assert done.returncode == result, done.stderr
    assert (tmp_path / "requeued").exists() == requeued
    assert not (tmp_path / "DATE/7_stopped").exists()


def test_a_shielded_interpreter_outlives_signals_until_it_is_ready() -> None:
    program = (
        "import signal, sys\nprint('up', flush=True)\nsys.stdin.readline()\n"
        "signal.signal(signal.SIGUSR2, lambda *_: print('told'))\n"
        "signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})\n"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "bsou_dist.cluster.blocked_signals", "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGUSR2)
        time.sleep(0.1)
        output, _ = process.communicate("go on\n", timeout=20)
    assert (process.returncode, output) == (0, "told\n")
