"""The jobs of a plan in this process, one after the other, without SLURM."""

from __future__ import annotations

import sys
import traceback

from bsou_dist.cluster.job import Bsou
from bsou_dist.cluster.plan import Plan
from bsou_dist.common.exit_codes import DONE, FAILED, INTERRUPTED, REQUEUE


def run_here(plan: Plan, bsou: Bsou) -> int:
    """Run every command of a plan as SLURM would allow it, each as a single process.

    A step is left out if one that it comes after has failed. A command that a signal has stopped is
    the last. Returns the exit code of the first one that failed, else 0.
    """
    codes: dict[str, list[int]] = {}
    for step in plan.steps:
        codes_before = [code for name in step.after for code in codes[name]]
        if any(codes_before):
            print(f"{step.name}: left out, since what it comes after failed", file=sys.stderr)
            codes[step.name] = [FAILED]
            continue
        codes[step.name] = []
        for title, command in zip(step.titles, step.commands, strict=True):
            print(f"{title}: bsou {' '.join(command)}", file=sys.stderr)
            try:
                code = bsou(command)
            except Exception:  # as a job of SLURM's would fail: itself, and not those beside it
                traceback.print_exc()
                code = FAILED
            if code in (REQUEUE, INTERRUPTED):
                return code
            if code:
                print(f"{title}: failed with exit code {code}", file=sys.stderr)
            codes[step.name].append(code)
    failures = [code for step_codes in codes.values() for code in step_codes if code]
    return failures[0] if failures else DONE
