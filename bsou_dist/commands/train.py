"""`bsou train`: run what a config says; every rank of a launcher is one such command."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from bsou_dist.commands.arguments import at_least_1
from bsou_dist.common.exit_codes import DONE, FAILED, exit_code_of_stop

HELP = "run what a config says; run again to continue"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, metavar="CONFIG")
    parser.add_argument("overrides", nargs="*", metavar="key.path=value")
    parser.add_argument(
        "--check",
        type=at_least_1,
        nargs="?",
        const=1,
        metavar="N",
        help="only look for mistakes, as N processes would meet them",
    )
    parser.add_argument(
        "--check-device",
        choices=("cpu", "cuda"),
        help="with --check: what those processes will compute on (default: as on this machine)",
    )
    parser.add_argument(
        "--profile",
        type=at_least_1,
        metavar="N",
        help="leave a trace of N training steps of each stage, as profile.json.gz in its folder",
    )


def run(options: argparse.Namespace) -> int:
    from bsou_dist.common.settings import read_settings
    from bsou_dist.engine.checkpoint import CheckpointFailed
    from bsou_dist.engine.health import NodeUnfit
    from bsou_dist.engine.stopping import Stopped
    from bsou_dist.experiment import run as experiment
    from bsou_dist.experiment.config import RunConfig

    config = read_settings(RunConfig, options.config, options.overrides)
    if options.check is not None:
        experiment.check(config, options.check, options.check_device)
        return DONE
    try:
        result = experiment.run(config, options.profile)
    except Stopped as stopped:
        _say_once(
            f"bsou: {stopped}, and what was done is saved; the same command goes on from here"
        )
        return exit_code_of_stop(stopped.by)
    except CheckpointFailed as error:
        _say_once(f"bsou: {error}; mend that, and the same command goes on from the last one")
        return FAILED
    except NodeUnfit as error:
        print(f"bsou: {error}", file=sys.stderr)
        return FAILED
    if _is_first_rank():
        print(result)
    return DONE


def _say_once(message: str) -> None:
    """Print a message that every rank has, on the first."""
    if _is_first_rank():
        print(message, file=sys.stderr)


def _is_first_rank() -> bool:
    return os.environ.get("RANK", "0") == "0"
