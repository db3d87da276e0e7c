"""A plan printed, run here, put into the queue, or followed to its end."""

from __future__ import annotations

import sys
from typing import Literal

from bsou_dist.cluster.follow import follow
from bsou_dist.cluster.job import Entry
from bsou_dist.cluster.local import run_here
from bsou_dist.cluster.plan import TRAIN, Plan
from bsou_dist.cluster.submit import Submitted, scripts, submit

Way = Literal["submit", "follow", "dry_run", "local"]
DONE, FAILED, INTERRUPTED = 0, 1, 130


def carry_out(plan: Plan, main: Entry, way: Way) -> int:
    """Do with a plan what was asked for; `main` is the `bsou` command. Returns the exit code.

    Raises:
        InputError: as `submit`.
    """
    if way == "local":
        return run_here(plan, main)
    if way == "dry_run":
        print("\n".join(scripts(plan)))
        return DONE
    jobs = submit(plan, main)
    for job in jobs:
        print(f"{job.title}: job {job.job_id}, log {job.log}", flush=True)
    return _follow(plan, jobs) if way == "follow" else DONE


def _follow(plan: Plan, jobs: list[Submitted]) -> int:
    alone = len(jobs) == 1
    try:
        states = follow(jobs, show_log=alone)
    except KeyboardInterrupt:
        ids = " ".join(dict.fromkeys(job.job_id.split("_")[0] for job in jobs))
        print(
            f"\nno longer followed; the jobs go on, and 'scancel {ids}' ends them", file=sys.stderr
        )
        return INTERRUPTED
    if alone:
        return states[jobs[0].job_id].code
    waited_for = {name for step in plan.steps for name in (*step.after, *step.after_any)}
    for job in jobs:
        if (
            job.step.commands[0][0] != TRAIN
            and job.step.name not in waited_for
            and job.log.is_file()
        ):
            print(job.log.read_text(errors="replace"))
    for job in jobs:
        state = states[job.job_id]
        print(
            f"{job.title}: {state.name}"
            + (f", exit code {state.code}; see {job.log}" if state.code else "")
        )
    return FAILED if any(state.code for state in states.values()) else DONE
