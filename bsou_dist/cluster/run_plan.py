"""A plan printed, run here, put into the queue, or followed to its end."""

from __future__ import annotations

import sys
from typing import Literal

from bsou_dist.cluster.follow import follow
from bsou_dist.cluster.job import Bsou
from bsou_dist.cluster.local import run_here
from bsou_dist.cluster.plan import TRAIN, Plan
from bsou_dist.cluster.submit import SubmittedJob, queue_id, scripts, submit
from bsou_dist.common.exit_codes import DONE, FAILED, INTERRUPTED

Way = Literal["submit", "follow", "dry_run", "local"]


def run_plan(plan: Plan, bsou: Bsou, way: Way) -> int:
    """Do with a plan what was asked for; `bsou` is the command. Returns the exit code.

    Raises:
        InputError: as `submit`.
    """
    if way == "local":
        return run_here(plan, bsou)
    if way == "dry_run":
        print("\n".join(scripts(plan)))
        return DONE
    jobs = submit(plan, bsou)
    for job in jobs:
        print(f"{job.title}: job {job.job_id}, log {job.log}", flush=True)
    return _follow(plan, jobs) if way == "follow" else DONE


def _follow(plan: Plan, jobs: list[SubmittedJob]) -> int:
    """Stay until all jobs have ended, and say how; a single job's exit code, else 0 or 1."""
    is_alone = len(jobs) == 1
    try:
        states = follow(jobs, show_log=is_alone)
    except KeyboardInterrupt:
        # An array is cancelled as a whole, under the one id that its jobs share.
        ids = " ".join(dict.fromkeys(queue_id(job) for job in jobs))
        print(
            f"\nno longer followed; the jobs go on, and 'scancel {ids}' ends them", file=sys.stderr
        )
        return INTERRUPTED
    if is_alone:
        return states[jobs[0].job_id].code
    _print_last_tables(plan, jobs)
    for job in jobs:
        state = states[job.job_id]
        where = f", exit code {state.code}; see {job.log}" if state.code else ""
        print(f"{job.title}: {state.name}{where}")
    any_failed = any(state.code for state in states.values())
    return FAILED if any_failed else DONE


def _print_last_tables(plan: Plan, jobs: list[SubmittedJob]) -> None:
    """Print what the last jobs have said, such as a table; a training's log would be too long."""
    waited_for = {name for step in plan.steps for name in (*step.after, *step.after_any)}
    for job in jobs:
        is_training = job.step.commands[0][0] == TRAIN
        is_last = job.step.name not in waited_for
        if is_last and not is_training and job.log.is_file():
            print(job.log.read_text(errors="replace"))
