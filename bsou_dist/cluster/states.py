"""What has become of jobs, as SLURM tells it.

Submitit asks `sacct` alone, which lags by seconds and is not there on every cluster, and takes
NODE_FAIL for the end of a job that SLURM has already put back into its queue. Here the queue is
asked first; it knows ended jobs for minutes.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

WELL = "COMPLETED"
OVER = {
    WELL,
    "BOOT_FAIL",
    "CANCELLED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "TIMEOUT",
}
MAY_RETURN = {"NODE_FAIL", "PREEMPTED"}
"""SLURM may yet put the job back into its queue."""


@dataclass(frozen=True)
class State:
    """Of one job at one time."""

    name: str
    """In SLURM's words."""
    exit_code: int = 0
    reason: str = ""
    """Why a job waits."""

    @property
    def over(self) -> bool:
        """Whether this is the end; of those that may return, once it has lasted for a while."""
        return self.name in OVER

    @property
    def code(self) -> int:
        """The job's exit code as a process would have it; 1 where SLURM ended a job that had
        none.
        """
        return 0 if self.name == WELL else self.exit_code or 1

    def __str__(self) -> str:
        because = (
            f" ({self.reason})"
            if self.name == "PENDING" and self.reason not in ("", "None")
            else ""
        )
        return f"{self.name}{because}"


def states_of(jobs: list[str]) -> dict[str, State]:
    """States by job id (`12`, or `12_3` in an array); without those that SLURM does not answer for
    just now.
    """
    found = _from_queue(jobs)
    missing = [job for job in jobs if job not in found]
    return found | (_from_accounts(missing) if missing else {})


def _from_queue(jobs: list[str]) -> dict[str, State]:
    rows = _rows(
        [
            "squeue",
            "-h",
            "-r",
            "-t",
            "all",
            "-j",
            ",".join(jobs),
            "-O",
            "JobArrayID:60,State:30,exit_code:20,Reason:200",
        ],
        None,
    )
    return {
        job: State(state, _exit_code(os.waitstatus_to_exitcode(int(status))), reason)
        for job, state, status, reason in rows
    }


def _from_accounts(jobs: list[str]) -> dict[str, State]:
    rows = _rows(
        ["sacct", "-X", "-n", "-P", "-o", "JobID,State,ExitCode", "-j", ",".join(jobs)], "|"
    )
    found = {}
    for job, state, exit_code in rows:
        code, number = map(int, exit_code.split(":"))
        found[job] = State(state.split()[0], _exit_code(-number if number else code))
    return found


def _rows(command: list[str], separator: str | None) -> list[list[str]]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [
        [field.strip() for field in line.split(separator, 3)] for line in done.stdout.splitlines()
    ]


def _exit_code(code: int) -> int:
    """As a shell would have it; `code` is negative for a signal."""
    return 128 - code if code < 0 else code
