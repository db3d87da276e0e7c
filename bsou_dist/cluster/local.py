"""The jobs of a plan in this process, one after the other, without SLURM."""

from __future__ import annotations

import sys
import traceback

from bsou_dist.cluster.job import STOPPED, Entry
from bsou_dist.cluster.plan import Plan

TOLD_TO_STOP = (STOPPED, 130)
"""Exit codes, by a signal and by Ctrl-C."""


def run_here(plan: Plan, main: Entry) -> int:
    """Run every command of a plan as SLURM would allow it, each as a single process.

    Returns the exit code of the first one that failed, else 0. One that was told to stop is the
    last.
    """
    codes: dict[str, list[int]] = {}
    for step in plan.steps:
        if any(code for name in step.after for code in codes[name]):
            print(f"{step.name}: left out, since what it comes after failed", file=sys.stderr)
            codes[step.name] = [1]
            continue
        codes[step.name] = []
        for title, command in zip(step.titles, step.commands, strict=True):
            print(f"{title}: bsou {' '.join(command)}", file=sys.stderr)
            try:
                code = main(command)
            except Exception:  # as a job of SLURM's would fail: itself, and not those beside it
                traceback.print_exc()
                code = 1
            if code in TOLD_TO_STOP:
                return code
            if code:
                print(f"{title}: failed with exit code {code}", file=sys.stderr)
            codes[step.name].append(code)
    return next((code for step in codes.values() for code in step if code), 0)
