"""`bsou evaluate`: make tables and report of a run anew from its predictions."""

from __future__ import annotations

import argparse
from pathlib import Path

from bsou_dist.common.exit_codes import DONE

HELP = "tables and report of a run, anew from its predictions"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="RUN")


def run(options: argparse.Namespace) -> int:
    from bsou_dist.experiment.run import evaluate

    print(evaluate(options.folder))
    return DONE
