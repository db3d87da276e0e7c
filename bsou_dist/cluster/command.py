"""The command line of launch/slurm.py."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo

from bsou_dist.cluster.follow import follow
from bsou_dist.cluster.job import Entry
from bsou_dist.cluster.local import run_here
from bsou_dist.cluster.options import SlurmOptions
from bsou_dist.cluster.plan import TRAIN, Plan, is_experiment, plan_experiment, plan_run
from bsou_dist.cluster.submit import Submitted, scripts, submit
from bsou_dist.errors import InputError
from bsou_dist.experiment.config import RunConfig
from bsou_dist.experiment.settings import read_settings

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def run(main: Entry, arguments: Sequence[str]) -> int:
    """Submit what the arguments say; `main` is the `bsou` command. Returns the exit code."""
    options = _parser().parse_intermixed_args(arguments)
    try:
        plan = _plan(options)
        if code := _check(plan, main, local=options.local):
            return code
        if options.local:
            return run_here(plan, main)
        if options.dry_run:
            print("\n".join(scripts(plan)))
            return DONE
        jobs = submit(plan, main)
        for job in jobs:
            print(f"{job.title}: job {job.job_id}, log {job.log}")
        return _follow(plan, jobs) if options.follow else DONE
    except InputError as error:
        print(f"slurm.py: {error}", file=sys.stderr)
        return BAD_INPUT


def _plan(options: argparse.Namespace) -> Plan:
    given = {name: value for name, value in vars(options).items() if name in SlurmOptions.model_fields}
    for name in ("env", "sbatch"):
        if name in given:
            given[name] = dict(_pair(f"--{name}", text) for text in given[name])
    if not is_experiment(options.config):
        return plan_run(options.config, options.overrides, given)
    if options.overrides:
        raise InputError(f"{options.config} holds jobs, and {options.overrides[0]!r} is for the config of a run: write "
                         "it into the command of a job")
    return plan_experiment(options.config, given)


def _check(plan: Plan, main: Entry, *, local: bool) -> int:
    """Look for mistakes in every run of a plan, here, but as all its processes would meet them; the exit code.

    What a run that comes after others needs may not be there yet: it is looked at when it starts.
    """
    for step in plan.steps:
        for command in step.commands:
            if command[0] == TRAIN and not (step.after or step.after_any):
                where = [] if local else ["--check-device", "cuda" if step.options.gpus_per_node else "cpu"]
                processes = 1 if local else step.options.tasks
                if code := main([*command, "--check", str(processes), *where]):
                    return code
            elif command[0] == TRAIN:
                read_settings(RunConfig, Path(command[1]), list(command[2:]))
    return DONE


def _follow(plan: Plan, jobs: list[Submitted]) -> int:
    alone = len(jobs) == 1
    try:
        states = follow(jobs, show_log=alone)
    except KeyboardInterrupt:
        ids = " ".join(dict.fromkeys(job.job_id.split("_")[0] for job in jobs))
        print(f"\nno longer followed; the jobs go on, and 'scancel {ids}' ends them", file=sys.stderr)
        return INTERRUPTED
    if alone:
        return states[jobs[0].job_id].code
    for job in jobs:
        if job.step.commands[0][0] != TRAIN and job.log.is_file():
            print(job.log.read_text(errors="replace"))
    for job in jobs:
        state = states[job.job_id]
        print(f"{job.title}: {state.name}" + (f", exit code {state.code}; see {job.log}" if state.code else ""))
    return FAILED if any(state.code for state in states.values()) else DONE


def _pair(option: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"{option} is {text!r}; write it as NAME=VALUE")
    return name, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="slurm.py", allow_abbrev=False, description="Submit a run, or a file of jobs, to SLURM; docs/slurm.md "
                                                         "explains.")
    parser.add_argument("config", type=Path, metavar="CONFIG", help="config of a run, or file of jobs")
    parser.add_argument("overrides", nargs="*", metavar="key.path=value", help="overrides of the config")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--dry-run", action="store_true", help="print the batch scripts and submit nothing")
    how.add_argument("--local", action="store_true", help="run here, in this process, without SLURM")
    how.add_argument("--follow", action="store_true", help="stay, show log and state, and end as the job does")
    for name, field in SlurmOptions.model_fields.items():
        parser.add_argument(f"--{name.replace('_', '-')}", default=argparse.SUPPRESS, **_argument(field))
    return parser


def _argument(field: FieldInfo) -> dict[str, Any]:
    default = "" if field.default in (None, [], {}, False) else f" (default {field.default})"
    about = f"{field.description}{default}".replace("%", "%%")
    kinds = {get_origin(field.annotation) or field.annotation, *get_args(field.annotation)}
    if bool in kinds:
        return {"action": "store_true", "help": about}
    if dict in kinds:
        return {"action": "append", "metavar": "NAME=VALUE", "help": f"{about}; may be repeated"}
    if list in kinds:
        return {"action": "append", "metavar": "PATH", "help": f"{about}; may be repeated"}
    return {"type": _number if int in kinds else str, "metavar": "N" if int in kinds else "VALUE", "help": about}


def _number(text: str) -> int | str:
    """A whole number; anything else is left for the check of all options to refuse."""
    return int(text) if text.isdecimal() else text
