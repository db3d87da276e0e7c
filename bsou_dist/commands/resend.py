"""`bsou resend`: send a run to a tracking server that was down meanwhile."""

from __future__ import annotations

import argparse
from pathlib import Path

from bsou_dist.common.exit_codes import DONE

HELP = "send a run to a tracking server that was down meanwhile"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="RUN")


def run(options: argparse.Namespace) -> int:
    from bsou_dist.experiment.run import resend_run

    print(resend_run(options.folder))
    return DONE
