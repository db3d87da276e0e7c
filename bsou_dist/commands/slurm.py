"""The command line of launch/slurm.py."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bsou_dist.cluster.job import Entry
from bsou_dist.cluster.plan import TRAIN, Plan, is_experiment, plan_experiment, plan_run
from bsou_dist.cluster.run_plan import Way, carry_out
from bsou_dist.commands.arguments import Parser, add_options, given_options
from bsou_dist.common.errors import InputError
from bsou_dist.common.settings import read_settings
from bsou_dist.experiment.config import RunConfig

DONE, BAD_INPUT = 0, 2


def run(main: Entry, arguments: Sequence[str]) -> int:
    """Submit what the arguments say; `main` is the `bsou` command. Returns the exit code."""
    options = _parser().parse_intermixed_args(arguments)
    way: Way = options.way or "submit"
    try:
        plan = _plan(options)
        return _check(plan, main, local=way == "local") or carry_out(plan, main, way)
    except InputError as error:
        print(f"slurm.py: {error}", file=sys.stderr)
        return BAD_INPUT


def _plan(options: argparse.Namespace) -> Plan:
    given = given_options(options)
    if not is_experiment(options.config):
        return plan_run(options.config, options.overrides, given)
    if options.overrides:
        raise InputError(
            f"{options.config} holds jobs, and {options.overrides[0]!r} is for the config of a "
            "run: write "
            "it into the command of a job"
        )
    return plan_experiment(options.config, given)


def _check(plan: Plan, main: Entry, *, local: bool) -> int:
    """Look for mistakes in every run of a plan, here, but as all its processes would meet them; the
    exit code.

    What a run that comes after others needs may not be there yet: it is looked at when it starts.
    """
    for step in plan.steps:
        for command in step.commands:
            if command[0] == TRAIN and not (step.after or step.after_any):
                where = (
                    []
                    if local
                    else ["--check-device", "cuda" if step.options.gpus_per_node else "cpu"]
                )
                processes = 1 if local else step.options.tasks
                if code := main([*command, "--check", str(processes), *where]):
                    return code
            elif command[0] == TRAIN:
                read_settings(RunConfig, Path(command[1]), list(command[2:]))
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="slurm.py",
        allow_abbrev=False,
        description="Submit a run, or a file of jobs, to SLURM; docs/slurm.md explains.",
    )
    parser.add_argument(
        "config", type=Path, metavar="CONFIG", help="config of a run, or file of jobs"
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="key.path=value", help="overrides of the config"
    )
    how = parser.add_mutually_exclusive_group()
    for way, about in (
        ("dry_run", "print the batch scripts and submit nothing"),
        ("local", "run here, in this process, without SLURM"),
        ("follow", "stay, show log and state, and end as the job does"),
    ):
        how.add_argument(
            f"--{way.replace('_', '-')}", dest="way", action="store_const", const=way, help=about
        )
    add_options(parser)
    return parser
