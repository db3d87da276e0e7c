"""`bsou embed`: embed the clips of shards with the encoder of a run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bsou_dist.common.exit_codes import DONE, exit_code_of_stop

HELP = "embed the clips of shards with the encoder of a run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="RUN")
    parser.add_argument("shards", type=Path, metavar="SHARDS")
    parser.add_argument("out", type=Path, metavar="OUT.parquet")


def run(options: argparse.Namespace) -> int:
    from bsou_dist.commands.embed_shards import embed_shards
    from bsou_dist.engine.stopping import Stopped

    try:
        embed_shards(options.folder, options.shards, options.out)
    except Stopped as stopped:
        print(f"bsou: {stopped}; nothing was written", file=sys.stderr)
        return exit_code_of_stop(stopped.by)
    print(f"embeddings: {options.out}")
    return DONE
