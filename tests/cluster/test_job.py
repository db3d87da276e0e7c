"""What a task of a job does that is told to stop before its command listens."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, signal, sys
from pathlib import Path
from bsou_dist.cluster.job import BsouJob

def importing(arguments):
    print("begun")
    try:
        os.kill(os.getpid(), signal.{name})
        print("goes on")
    except BaseException:
        print("an import has swallowed it")
    return 0

BsouJob(importing, (), Path(sys.argv[1]))()
"""
ONE_TASK = {
    "SUBMITIT_EXECUTOR": "slurm",
    "SLURM_JOB_ID": "7",
    "SLURM_NTASKS": "1",
    "SLURM_JOB_NUM_NODES": "1",
    "SLURM_NODEID": "0",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_JOB_NODELIST": "localhost",
}


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGUSR2"])
def test_it_ends_at_once_whatever_catches_exceptions(name: str, tmp_path: Path) -> None:
    """In the midst of an import an exception would be lost, or end the process in C++."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(name=name), str(tmp_path)],
        env=os.environ | ONE_TASK,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stdout) == (75, "begun\n"), done.stderr
    assert (tmp_path / "7_stopped").exists(), "its batch script puts the job into the queue again"
