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
FAILED = "FAILED"
OVER = {
    WELL,
    FAILED,
    "BOOT_FAIL",
    "CANCELLED",
    "DEADLINE",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "TIMEOUT",
}
MAY_RETURN = {"NODE_FAIL", "PREEMPTED"}
"""SLURM may yet put the job back into its queue."""

QUEUE_FIELDS = "JobArrayID:60,State:30,exit_code:20,Reason:200"
ACCOUNT_FIELDS = "JobID,State,ExitCode"


@dataclass(frozen=True)
class State:
    """The state of one job at one time."""

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
        """The job's exit code as a process would have it; 1 where SLURM ended it without one."""
        return 0 if self.name == WELL else self.exit_code or 1

    def __str__(self) -> str:
        is_waiting = self.name == "PENDING" and self.reason not in ("", "None")
        return f"{self.name} ({self.reason})" if is_waiting else self.name


def states_of(job_ids: list[str]) -> dict[str, State]:
    """Ask for the states of jobs, by id (`12`, or `12_3` in an array).

    Those that SLURM does not answer for just now are not among them.
    """
    states = _from_queue(job_ids)
    missing = [job_id for job_id in job_ids if job_id not in states]
    if missing:
        states |= _from_accounts(missing)
    return states


def _from_queue(job_ids: list[str]) -> dict[str, State]:
    ids = ",".join(job_ids)
    command = ["squeue", "-h", "-r", "-t", "all", "-j", ids, "-O", QUEUE_FIELDS]
    states = {}
    for job_id, state, wait_status, reason in _rows(command, separator=None):
        code = os.waitstatus_to_exitcode(int(wait_status))
        states[job_id] = State(state, _as_in_a_shell(code), reason)
    return states


def _from_accounts(job_ids: list[str]) -> dict[str, State]:
    command = ["sacct", "-X", "-n", "-P", "-o", ACCOUNT_FIELDS, "-j", ",".join(job_ids)]
    states = {}
    for job_id, state, exit_code in _rows(command, separator="|"):
        code, signal_number = map(int, exit_code.split(":"))
        if signal_number:
            code = -signal_number
        name, *_ = state.split()  # such as "CANCELLED by 1000"
        states[job_id] = State(name, _as_in_a_shell(code))
    return states


def _rows(command: list[str], separator: str | None) -> list[list[str]]:
    """Fields of each line that a command prints; the last of four may hold blanks."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    rows = []
    for line in done.stdout.splitlines():
        rows.append([field.strip() for field in line.split(separator, 3)])
    return rows


def _as_in_a_shell(code: int) -> int:
    """An exit code as a shell would have it; `code` is negative for a signal."""
    return 128 - code if code < 0 else code
