"""`bsou phantom`: generate a cohort of phantom patients."""

from __future__ import annotations

import argparse
from pathlib import Path

from bsou_dist.commands.arguments import add_settings
from bsou_dist.common.exit_codes import DONE

HELP = "generate a cohort of phantom patients"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, metavar="OUT", help="new folder for clips and cohort.csv")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--format", choices=("dicom", "mp4", "npz"), default="dicom")
    shape.add_argument(
        "--layout",
        choices=("nejm_v4", "famli2_enrolled", "famli2", "famli3", "famli3_vivli", "acouslic"),
        help="write OUT as FAMLI's tables and files or ACOUSLIC-AI's stacks instead",
    )
    add_settings(parser, "patients=20 twin_fraction=0.1")


def run(options: argparse.Namespace) -> int:
    from bsou_dist.commands.write_phantom import (
        write_phantom_cohort,
        write_phantom_layout,
        write_phantom_stacks,
    )
    from bsou_dist.common.settings import read_settings
    from bsou_dist.phantom import PhantomConfig

    config = read_settings(PhantomConfig, options.config, options.overrides)
    if options.layout == "acouslic":
        table = write_phantom_stacks(config, options.out, workers=options.workers)
    elif options.layout:
        table = write_phantom_layout(
            config, options.out, layout=options.layout, workers=options.workers
        )
    if options.layout:
        print(f"{options.layout}: {options.out}; what reading it must give: {table}")
    else:
        table = write_phantom_cohort(
            config, options.out, file_format=options.format, workers=options.workers
        )
        print(f"cohort table: {table}")
    return DONE
