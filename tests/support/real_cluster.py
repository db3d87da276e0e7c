"""A real SLURM cluster on this machine, and jobs handed in to it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Cluster:
    """Runs commands on its login node."""

    state: Path

    def control(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `cluster.sh` with these arguments; what it says is in the error where it fails."""
        done = subprocess.run(
            [Path(__file__).with_name("cluster.sh"), *arguments],
            capture_output=True,
            text=True,
            env=os.environ | {"SLURM_MINI_STATE": str(self.state)},
            check=False,
            timeout=600,  # only ever waited for where something is broken
        )
        assert done.returncode == 0, f"cluster.sh {' '.join(arguments)}: {done.stderr}"
        return done

    @property
    def environment(self) -> dict[str, str]:
        clean = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("SLURM", "SBATCH"))
        }
        return clean | {
            "PATH": f"{self.state}/bin:{os.environ['PATH']}",
            "SLURM_MINI_STATE": str(self.state),
            "SLURM_CONF": f"{self.state}/etc/slurm.conf",
        }

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """`launch/slurm.py` with these arguments, on two CPU nodes, followed to the end."""
        return self._start(
            ROOT / "launch/slurm.py",
            *arguments,
            "--gpus-per-node=0",
            "--cpus-per-task=1",
            "--follow",
        )

    def start_bsou(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """`bsou` with these arguments."""
        return self._start("-m", "bsou_dist.cli", *arguments)

    def _start(self, *words: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *words],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return ended(self.start(*arguments))

    def job(self, name: str) -> dict[str, str]:
        """What SLURM knows of the job of this name; nothing before it is submitted."""
        return next(iter(self.jobs(name)), {})

    def jobs(self, name: str) -> list[dict[str, str]]:
        """What SLURM knows of all jobs of this name, tasks of an array each."""
        done = subprocess.run(
            ["scontrol", "-o", "show", "job"],
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        jobs = [
            dict(fact.split("=", 1) for fact in line.split() if "=" in fact)
            for line in done.stdout.splitlines()
        ]
        return [job for job in jobs if job.get("JobName") == name]


def ended(
    process: subprocess.Popen[str], timeout_s: float = 900.0
) -> subprocess.CompletedProcess[str]:
    """A process that has come to its end."""
    try:
        output, errors = process.communicate(timeout=timeout_s)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = 300.0) -> None:
    """Look twice a second; fails after a while, far longer than a busy machine takes."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.5)
