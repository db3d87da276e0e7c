"""Jobs watched from the terminal that submitted them."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from bsou_dist.cluster.states import MAY_RETURN, State, states_of
from bsou_dist.cluster.submit import Submitted

POLL_S = 3.0
RETURN_S = 60.0  # how long a job may take back into the queue after its node failed
SILENCE_S = 60.0  # how long SLURM may know nothing of a job


def follow(jobs: list[Submitted], *, poll_s: float = POLL_S, show_log: bool) -> dict[str, State]:
    """Say what becomes of jobs until all have ended; their last states by id.

    With `show_log` the log of the first job's first task is shown as it grows.
    """
    said: dict[str, str] = {}
    since: dict[str, float] = {}
    ended: dict[str, State] = {}
    tail = _Tail(jobs[0].log)
    while len(ended) < len(jobs):
        now = time.monotonic()
        states = states_of([job.job_id for job in jobs if job.job_id not in ended])
        if show_log:
            tail.show()
        for job in jobs:
            if job.job_id in ended:
                continue
            state = states.get(job.job_id, State("UNKNOWN"))
            if said.get(job.job_id) != str(state):
                said[job.job_id], since[job.job_id] = str(state), now
                print(f"{job.title} ({job.job_id}): {state}", file=sys.stderr)
            waited = now - since[job.job_id]
            if (
                state.name == "UNKNOWN" and waited > SILENCE_S
            ):  # forgotten, and no accounts are kept
                state = State("COMPLETED" if job.result.is_file() else "FAILED")
            if state.over and (state.name not in MAY_RETURN or waited > RETURN_S):
                ended[job.job_id] = state
        if len(ended) < len(jobs):
            time.sleep(poll_s)
    if show_log:
        tail.show()
    return ended


class _Tail:
    """What is added to a file, which need not be there yet."""

    def __init__(self, path: Path) -> None:
        self._path, self._position = path, 0

    def show(self) -> None:
        if self._path.is_file():
            with self._path.open("rb") as file:
                file.seek(self._position)
                text = file.read()
            self._position += len(text)
            print(text.decode(errors="replace"), end="", flush=True)
