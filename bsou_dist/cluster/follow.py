"""Jobs watched from the terminal that submitted them."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from bsou_dist.cluster.states import FAILED, MAY_RETURN, WELL, State, states_of
from bsou_dist.cluster.submit import SubmittedJob

POLL_S = 3.0

RETURN_S = 60.0
"""How long a job may take to come back into the queue after its node failed."""

SILENCE_S = 60.0
"""How long SLURM may know nothing of a job before it counts as forgotten."""


def follow(jobs: list[SubmittedJob], *, poll_s: float = POLL_S, show_log: bool) -> dict[str, State]:
    """Say what becomes of jobs until all have ended; their last states by id.

    With `show_log` the log of the first job's first task is shown as it grows.
    """
    reported: dict[str, str] = {}
    since_s: dict[str, float] = {}
    last_states: dict[str, State] = {}
    log = _GrowingFile(jobs[0].log)
    running = jobs
    while running:
        now_s = time.monotonic()
        states = states_of([job.job_id for job in running])
        if show_log:
            log.show_new()
        for job in running:
            state = states.get(job.job_id, State("UNKNOWN"))
            if reported.get(job.job_id) != str(state):
                reported[job.job_id] = str(state)
                since_s[job.job_id] = now_s
                print(f"{job.title} ({job.job_id}): {state}", file=sys.stderr)
            waited_s = now_s - since_s[job.job_id]
            if state.name == "UNKNOWN" and waited_s > SILENCE_S:
                # The queue has forgotten the job and no accounts are kept: its result file tells.
                state = State(WELL if job.result.is_file() else FAILED)
            may_return = state.name in MAY_RETURN and waited_s <= RETURN_S
            if state.over and not may_return:
                last_states[job.job_id] = state
        running = [job for job in running if job.job_id not in last_states]
        if running:
            time.sleep(poll_s)
    if show_log:
        log.show_new()
    return last_states


class _GrowingFile:
    """A file that others add to; it need not be there yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._shown_bytes = 0

    def show_new(self) -> None:
        """Print what was added since the last time."""
        if not self._path.is_file():
            return
        with self._path.open("rb") as file:
            file.seek(self._shown_bytes)
            content = file.read()
        self._shown_bytes += len(content)
        print(content.decode(errors="replace"), end="", flush=True)
