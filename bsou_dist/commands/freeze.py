"""`bsou cohort freeze`: check a cohort and write it with version and flow."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bsou_dist.commands.arguments import add_column_map, add_strict
from bsou_dist.common.exit_codes import DONE

HELP = "check a cohort and write it with version and flow"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "cohort", type=Path, metavar="COHORT", help="cohort table, or the folder of a ready layout"
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="new folder")
    parser.add_argument(
        "--root",
        type=Path,
        help="folder that the clips' paths are relative to (default: the table's)",
    )
    parser.add_argument(
        "--shards",
        type=Path,
        help="shards packed from it: what packing rejected is in the flow too",
    )
    parser.add_argument(
        "--tasks",
        metavar="SET_OR_FILE",
        help="keep the label columns of these tasks: a ready set, or a YAML file such as a run's "
        "config (default: p1)",
    )
    add_column_map(parser)
    add_strict(parser)


def run(options: argparse.Namespace) -> int:
    from bsou_dist.commands.freeze_cohort import FLOW_NAME, freeze_cohort
    from bsou_dist.tasks.task_set import load_tasks

    unchanged = " (unchanged)" if options.out.exists() else ""
    cohort = freeze_cohort(
        options.cohort,
        options.out,
        column_map=options.column_map,
        root=options.root,
        shards=options.shards,
        label_columns=[task.label for task in load_tasks(options.tasks).values()],
        strict=options.strict,
    )
    for note in cohort.notes:
        print(f"note: {note}", file=sys.stderr)
    flow = options.out / f"{FLOW_NAME}.md"
    print(flow.read_text(encoding="utf-8"), end="")
    print(f"cohort: {options.out}{unchanged}; its clips are relative to {cohort.root}")
    return DONE
