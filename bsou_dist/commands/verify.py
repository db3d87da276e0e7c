"""`bsou verify`: read shards again and compare them with their checksums."""

from __future__ import annotations

import argparse
from pathlib import Path

from bsou_dist.common.exit_codes import DONE, FAILED

HELP = "read shards again and compare them with their checksums"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shards", type=Path, metavar="SHARDS")


def run(options: argparse.Namespace) -> int:
    from bsou_dist.inspection.verify import verify

    report = verify(options.shards)
    print(report)
    return FAILED if report.faults else DONE
