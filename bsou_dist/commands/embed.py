"""`bsou embed`: embed the clips of shards with the encoder of a run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bsou_dist.common.exit_codes import DONE, FAILED, exit_code_of_stop

HELP = "embed the clips of shards with the encoder of a run"

_LISTED_CLIPS = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="RUN")
    parser.add_argument("shards", type=Path, metavar="SHARDS")
    parser.add_argument("out", type=Path, metavar="OUT.parquet")
    parser.add_argument(
        "--trust-encoder",
        metavar="PACKAGE.MODULE:FACTORY",
        help="run this code of one's own, which RUN says that its encoder is made by",
    )


def run(options: argparse.Namespace) -> int:
    from bsou_dist.commands.embed_shards import embed_shards
    from bsou_dist.common.shown_text import shown_text
    from bsou_dist.engine.stopping import Stopped

    try:
        left_out = embed_shards(options.folder, options.shards, options.out, options.trust_encoder)
    except Stopped as stopped:
        print(f"bsou: {stopped}; nothing was written", file=sys.stderr)
        return exit_code_of_stop(stopped.by)
    print(f"embeddings: {options.out}")
    if not left_out:
        return DONE
    for key, reason in list(left_out.items())[:_LISTED_CLIPS]:
        print(f"left out: {shown_text(key)}: {shown_text(reason)}", file=sys.stderr)
    print(
        f"bsou: {len(left_out)} clips were left out, and their embedding is NaN; "
        f"'bsou verify {options.shards}' names all that is at fault",
        file=sys.stderr,
    )
    return FAILED
