"""`bsou inspect`: count what is in shards and draw it, or look for what could tell a patient."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bsou_dist.commands.arguments import add_column_map
from bsou_dist.common.exit_codes import DONE, FAILED

HELP = "count what is in shards, and draw a contact sheet"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shards", type=Path, metavar="SHARDS")
    parser.add_argument("--cohort", type=Path, help="cohort table: counts by label as well")
    parser.add_argument(
        "--tasks",
        metavar="SET_OR_FILE",
        help="with --cohort: whose labels are counted; a ready set, or a YAML file such as a run's "
        "config (default: p1)",
    )
    add_column_map(parser)
    parser.add_argument("--pseudonym-key", type=Path, help="default: in SHARDS.private")
    parser.add_argument("--sheet", type=Path, help="where the picture goes (default: here)")
    parser.add_argument(
        "--privacy", action="store_true", help="show instead what could still tell who a patient is"
    )


def run(options: argparse.Namespace) -> int:
    from bsou_dist.inspection.contact_sheet import check_picture

    if options.sheet:
        check_picture(options.sheet)
    return _look_for_identities(options) if options.privacy else _describe(options)


def _describe(options: argparse.Namespace) -> int:
    from bsou_dist.cohort.table import read_cohort
    from bsou_dist.common.shown_text import shown_text
    from bsou_dist.inspection.contact_sheet import contact_sheet
    from bsou_dist.inspection.describe import describe
    from bsou_dist.packing.private_folder import KEY_NAME
    from bsou_dist.shards.manifest import look_at_summary
    from bsou_dist.shards.pseudonyms import Pseudonymizer, default_private_dir, load_key
    from bsou_dist.tasks.task_set import load_tasks

    table = None
    pseudonymizer = None
    tasks = load_tasks(options.tasks)
    if options.cohort:
        cohort = read_cohort(
            options.cohort,
            column_map=options.column_map,
            label_columns=[task.label for task in tasks.values()],
        )
        table = cohort.table
        key_path = options.pseudonym_key or default_private_dir(options.shards) / KEY_NAME
        pseudonymizer = Pseudonymizer(load_key(key_path))
    print(describe(options.shards, table, pseudonymizer, tasks))
    sheet = options.sheet or Path(f"{options.shards.name or 'shards'}-contact-sheet.png")
    damaged = contact_sheet(options.shards, sheet)
    print(f"contact sheet: {sheet}")
    for key, reason in damaged.items():
        print(f"bsou: {shown_text(key)} cannot be drawn: {shown_text(reason)}", file=sys.stderr)
    _, damage = look_at_summary(options.shards)
    if damaged or damage:
        print(f"bsou: 'bsou verify {options.shards}' names all that is at fault", file=sys.stderr)
        return FAILED
    return DONE


def _look_for_identities(options: argparse.Namespace) -> int:
    from bsou_dist.inspection.privacy_sheet import privacy_sheet
    from bsou_dist.inspection.privacy_words import inspect_privacy
    from bsou_dist.shards.pseudonyms import default_private_dir

    if options.pseudonym_key:
        private = options.pseudonym_key.parent
    else:
        private = default_private_dir(options.shards)
    report = inspect_privacy(options.shards, private)
    print(report)
    sheet = options.sheet or Path(f"{options.shards.name or 'shards'}-privacy.png")
    clips = privacy_sheet(options.shards, sheet)
    with_boxes = sum(boxes > 0 for _, boxes in clips)
    print(
        f"privacy sheet: {sheet}: {len(clips)} clips, the most suspicious first, {with_boxes} with "
        "boxes\nLook at it, because no program can tell that nothing is left: a box may be a "
        "bright bone, and print that moves or is faint has none."
    )
    return FAILED if report.findings else DONE
