"""`bsou verify`: read shards again and compare them with their checksums."""

from __future__ import annotations

import argparse
from pathlib import Path

from bsou_dist.common.exit_codes import DONE, FAILED

HELP = "read shards again and compare them with their checksums"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shards", type=Path, metavar="SHARDS")
    parser.add_argument(
        "--sources",
        type=Path,
        metavar="ROOT",
        help="read the files that were packed too, and name clips whose file would be rejected "
        "today; ROOT is the folder that the paths of the cohort table start from",
    )
    parser.add_argument(
        "--private",
        type=Path,
        help="with --sources: folder with the key of these shards (default: SHARDS.private)",
    )


def run(options: argparse.Namespace) -> int:
    from bsou_dist.inspection.verify import verify
    from bsou_dist.shards.pseudonyms import default_private_dir

    report = verify(options.shards)
    print(report)
    has_faults = bool(report.faults)
    if options.sources is not None:
        from bsou_dist.inspection.verify_sources import verify_sources

        private = options.private or default_private_dir(options.shards)
        suspect = 0
        for fault in verify_sources(options.shards, private, options.sources):
            print(fault)
            suspect += 1
        print(
            f"{suspect} of {report.clips} clips have a source that would be rejected today or "
            "cannot be looked at"
        )
        has_faults = has_faults or suspect > 0
    return FAILED if has_faults else DONE
