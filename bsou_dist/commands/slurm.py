"""The command line of launch/slurm.py: submit a run, or a file of jobs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bsou_dist.commands.arguments import Parser, add_options, given_options
from bsou_dist.common.errors import InputError
from bsou_dist.common.exit_codes import BAD_INPUT, DONE

if TYPE_CHECKING:
    from bsou_dist.cluster.job import Bsou
    from bsou_dist.cluster.plan import Plan, Step
    from bsou_dist.cluster.run_plan import Way

HELP = "Submit a run, or a file of jobs, to SLURM; docs/slurm.md explains."


def main(bsou: Bsou, arguments: Sequence[str]) -> int:
    """Read the arguments and do what they say; `bsou` is the command. Returns the exit code."""
    parser = Parser(prog="slurm.py", allow_abbrev=False, description=HELP)
    add_arguments(parser)
    options = parser.parse_intermixed_args(arguments)
    try:
        return run(options, bsou)
    except InputError as error:
        print(f"slurm.py: {error}", file=sys.stderr)
        return BAD_INPUT


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "config", type=Path, metavar="CONFIG", help="config of a run, or file of jobs"
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="key.path=value", help="overrides of the config"
    )
    ways = {
        "dry_run": "print the batch scripts and submit nothing",
        "local": "run here, in this process, without SLURM",
        "follow": "stay, show log and state, and end as the job does",
    }
    way_group = parser.add_mutually_exclusive_group()
    for way, help_text in ways.items():
        flag = f"--{way.replace('_', '-')}"
        way_group.add_argument(flag, dest="way", action="store_const", const=way, help=help_text)
    add_options(parser)


def run(options: argparse.Namespace, bsou: Bsou) -> int:
    """Submit what the arguments say, once no mistake is found in it.

    Raises:
        InputError: an argument or a config is at fault, or SLURM refuses a job.
    """
    from bsou_dist.cluster.run_plan import run_plan

    way: Way = options.way or "submit"
    plan = _make_plan(options)
    code = _look_for_mistakes(plan, bsou, is_local=way == "local")
    if code != DONE:
        return code
    return run_plan(plan, bsou, way)


def _make_plan(options: argparse.Namespace) -> Plan:
    from bsou_dist.cluster.plan import is_experiment, plan_experiment, plan_run

    given = given_options(options)
    if not is_experiment(options.config):
        return plan_run(options.config, options.overrides, given)
    if options.overrides:
        raise InputError(
            f"{options.config} holds jobs, and {options.overrides[0]!r} is for the config of a "
            "run: write it into the command of a job"
        )
    return plan_experiment(options.config, given)


def _look_for_mistakes(plan: Plan, bsou: Bsou, *, is_local: bool) -> int:
    """Check every training of a plan, here, but as all its processes would meet its mistakes.

    What a run that comes after others needs may not be there yet: only its config is read now, and
    the rest is looked at when it starts. Returns the exit code of the first check that fails, or 0.
    """
    from bsou_dist.cluster.plan import TRAIN

    for step in plan.steps:
        for command in step.commands:
            if command[0] != TRAIN:
                continue
            if step.after or step.after_any:
                _check_config(command)
                continue
            code = bsou([*command, "--check", *_check_arguments(step, is_local)])
            if code != DONE:
                return code
    return DONE


def _check_config(train_command: Sequence[str]) -> None:
    from bsou_dist.common.settings import read_settings
    from bsou_dist.experiment.config import RunConfig

    _, config, *overrides = train_command
    read_settings(RunConfig, Path(config), overrides)


def _check_arguments(step: Step, is_local: bool) -> list[str]:
    """How many processes `bsou train --check` is to check for, and what they will compute on."""
    if is_local:
        return ["1"]
    device = "cuda" if step.options.gpus_per_node else "cpu"
    return [str(step.options.tasks), "--check-device", device]
