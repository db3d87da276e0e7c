"""`bsou power`: how many patients a comparison of two methods needs, from runs at hand."""

from __future__ import annotations

import argparse
from pathlib import Path

from bsou_dist.common.exit_codes import DONE

HELP = "patients that a comparison needs, from the predictions of runs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folders",
        type=Path,
        nargs="+",
        metavar="RUN",
        help="folder of a run; of several the pairs of methods are planned for",
    )
    parser.add_argument("--task", help="plan for this task alone")
    parser.add_argument(
        "--difference",
        type=float,
        help="difference to find, in the metric's unit: 0.05 of an accuracy, 2 of days",
    )


def run(options: argparse.Namespace) -> int:
    from bsou_dist.experiment.results import plan_power

    print(plan_power(options.folders, task=options.task, difference=options.difference))
    return DONE
