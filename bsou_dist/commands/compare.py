"""`bsou compare`: print the table of an experiment, from the tracker alone."""

from __future__ import annotations

import argparse
from pathlib import Path

from bsou_dist.common.exit_codes import DONE

HELP = "the table of an experiment, from the tracker alone"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("experiment", metavar="EXPERIMENT")
    parser.add_argument("--uri", help="MLflow server or store (default: mlflow.db under --output)")
    parser.add_argument("--output", type=Path, default=Path("runs"), help="folder of runs")


def run(options: argparse.Namespace) -> int:
    from bsou_dist.experiment.results import compare

    print(compare(options.uri, options.output, options.experiment))
    return DONE
