"""The `bsou` command.

Exit codes: 0 done, 1 a run failed, 2 the user's input is at fault, 75 a run was asked to stop and
has saved (the same command goes on), 130 the same by Ctrl-C.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from bsou_dist.commands import pack as pack_command
from bsou_dist.commands.arguments import Parser, at_least_1
from bsou_dist.common.errors import InputError
from bsou_dist.engine.stopping import Stopped

DONE, FAILED, BAD_INPUT, REQUEUE, INTERRUPTED = 0, 1, 2, 75, 130
PATH_FAULTS = (
    FileNotFoundError,
    FileExistsError,
    NotADirectoryError,
    IsADirectoryError,
    PermissionError,
)
"""A path given by the user that cannot be what it is wanted for."""

FULL = (errno.ENOSPC, errno.EDQUOT)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options, late = _parser().parse_known_args(arguments)
    # argparse takes no positional after an option once the first ones were seen, and overrides may
    # stand anywhere.
    if late and (not hasattr(options, "overrides") or any(text.startswith("-") for text in late)):
        options.parser.error(f"unrecognized arguments: {' '.join(late)}")
    if late:
        options.overrides += late
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except InputError as error:
        # The launchers look for mistakes in one process beforehand; what is left to a rank may be
        # its own.
        rank = os.environ.get("RANK")
        print(f"bsou{f' (rank {rank})' if rank else ''}: {error}", file=sys.stderr)
        return BAD_INPUT
    except PATH_FAULTS as error:
        if error.filename is None:  # of no path that anyone gave
            raise
        print(
            f"bsou: {error.strerror}: {error.filename}; name another path, or mend it",
            file=sys.stderr,
        )
        return BAD_INPUT
    except BrokenPipeError:  # whoever read our output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return DONE
    except OSError as error:
        if error.errno not in FULL:
            raise
        print(
            f"bsou: {error.strerror}{f': {error.filename}' if error.filename else ''}; make room, "
            "and the same "
            "command goes on from what is there",
            file=sys.stderr,
        )
        return FAILED
    except KeyboardInterrupt:
        print("bsou: interrupted; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    return code


# The rooms are imported by the command that needs them: torch alone takes seconds, and `bsou
# --help` should not.


def _phantom(options: argparse.Namespace) -> int:
    from bsou_dist.commands.write_phantom import write_phantom_cohort, write_phantom_layout
    from bsou_dist.common.settings import read_settings
    from bsou_dist.phantom import PhantomConfig

    config = read_settings(PhantomConfig, options.config, options.overrides)
    if options.layout:
        table = write_phantom_layout(
            config, options.out, layout=options.layout, workers=options.workers
        )
        print(f"{options.layout}: {options.out}; what reading it must give: {table}")
        return DONE
    table = write_phantom_cohort(
        config, options.out, file_format=options.format, workers=options.workers
    )
    print(f"cohort table: {table}")
    return DONE


def _pack(options: argparse.Namespace) -> int:
    from bsou_dist.cli import (
        main as bsou,  # by its name, under which jobs find it, however this was started
    )
    from bsou_dist.packing.folder import PackFailed

    try:
        return pack_command.run(options, bsou)
    except Stopped as stopped:
        print(
            f"bsou: {stopped}; the same command goes on after the last whole shard", file=sys.stderr
        )
        return _code(stopped)
    except PackFailed as error:
        print(f"bsou: {error}", file=sys.stderr)
        return FAILED


def _freeze(options: argparse.Namespace) -> int:
    from bsou_dist.commands.freeze_cohort import freeze_cohort

    there_before = options.out.exists()
    cohort = freeze_cohort(
        options.cohort,
        options.out,
        column_map=options.column_map,
        root=options.root,
        shards=options.shards,
    )
    for note in cohort.notes:
        print(f"note: {note}", file=sys.stderr)
    print((options.out / "flow.md").read_text(encoding="utf-8"), end="")
    print(
        f"cohort: {options.out}{' (unchanged)' if there_before else ''}; its clips are relative "
        f"to {cohort.root}"
    )
    return DONE


def _inspect(options: argparse.Namespace) -> int:
    from bsou_dist.cohort.table import read_cohort
    from bsou_dist.inspection.contact_sheet import check_picture, contact_sheet
    from bsou_dist.inspection.describe import describe
    from bsou_dist.packing.private_folder import KEY_NAME
    from bsou_dist.shards.pseudonyms import Pseudonymizer, default_private_dir, load_key
    from bsou_dist.tasks.task_set import load_tasks

    if options.sheet:
        check_picture(options.sheet)
    if options.privacy:
        return _inspect_privacy(options)
    table = pseudonymizer = tasks = None
    if options.cohort:
        tasks = load_tasks(options.tasks)
        columns = [task.label for task in tasks.values()]
        cohort = read_cohort(options.cohort, column_map=options.column_map, label_columns=columns)
        table = cohort.table
        pseudonymizer = Pseudonymizer(
            load_key(options.pseudonym_key or default_private_dir(options.shards) / KEY_NAME)
        )
    print(describe(options.shards, table, pseudonymizer, tasks))
    sheet = options.sheet or Path(f"{options.shards.name or 'shards'}-contact-sheet.png")
    contact_sheet(options.shards, sheet)
    print(f"contact sheet: {sheet}")
    return DONE


def _inspect_privacy(options: argparse.Namespace) -> int:
    from bsou_dist.inspection.privacy_sheet import privacy_sheet
    from bsou_dist.inspection.privacy_words import inspect_privacy
    from bsou_dist.shards.pseudonyms import default_private_dir

    key = options.pseudonym_key
    report = inspect_privacy(
        options.shards, key.parent if key else default_private_dir(options.shards)
    )
    print(report)
    sheet = options.sheet or Path(f"{options.shards.name or 'shards'}-privacy.png")
    looked_at = privacy_sheet(options.shards, sheet)
    boxed = sum(places > 0 for _, places in looked_at)
    print(
        f"privacy sheet: {sheet}: {len(looked_at)} clips, the most suspicious first, {boxed} with "
        "boxes\n"
        "Look at it, because no program can tell that nothing is left: a box may be a bright "
        "bone, and print that "
        "moves or is faint has none."
    )
    return FAILED if report.findings else DONE


def _verify(options: argparse.Namespace) -> int:
    from bsou_dist.inspection.verify import verify

    summary = verify(options.shards)
    print(summary)
    return FAILED if summary.faults else DONE


def _train(options: argparse.Namespace) -> int:
    from bsou_dist.common.settings import read_settings
    from bsou_dist.engine.checkpoint import CheckpointFailed
    from bsou_dist.experiment.config import RunConfig
    from bsou_dist.experiment.run import check, run

    config = read_settings(RunConfig, options.config, options.overrides)
    if options.check is not None:
        check(config, options.check, options.check_device)
        return DONE
    first = os.environ.get("RANK", "0") == "0"
    try:
        print(run(config), end="\n" if first else "")
    except Stopped as stopped:
        if first:
            print(
                f"bsou: {stopped}, and what was done is saved; the same command goes on from here",
                file=sys.stderr,
            )
        return _code(stopped)
    except CheckpointFailed as error:
        if first:
            print(
                f"bsou: {error}; mend that, and the same command goes on from the last one",
                file=sys.stderr,
            )
        return FAILED
    return DONE


def _code(stopped: Stopped) -> int:
    return INTERRUPTED if stopped.by == signal.SIGINT else REQUEUE


def _evaluate(options: argparse.Namespace) -> int:
    from bsou_dist.experiment.run import evaluate

    print(evaluate(options.folder))
    return DONE


def _embed(options: argparse.Namespace) -> int:
    from bsou_dist.commands.embed_shards import embed_shards

    try:
        embed_shards(options.folder, options.shards, options.out)
    except Stopped as stopped:
        print(f"bsou: {stopped}; nothing was written", file=sys.stderr)
        return _code(stopped)
    print(f"embeddings: {options.out}")
    return DONE


def _resend(options: argparse.Namespace) -> int:
    from bsou_dist.experiment.run import resend_run

    print(resend_run(options.folder))
    return DONE


def _compare(options: argparse.Namespace) -> int:
    from bsou_dist.experiment.results import compare

    print(compare(options.uri, options.output, options.experiment))
    return DONE


def _parser() -> Parser:
    parser = Parser(prog="bsou", description="Train on blind-sweep obstetric ultrasound clips.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    phantom = commands.add_parser("phantom", help="generate a cohort of phantom patients")
    phantom.add_argument(
        "out", type=Path, metavar="OUT", help="new folder for clips and cohort.csv"
    )
    shape = phantom.add_mutually_exclusive_group()
    shape.add_argument("--format", choices=("dicom", "mp4", "npz"), default="dicom")
    shape.add_argument(
        "--layout",
        choices=("nejm_v4", "famli2_enrolled", "famli2", "famli3"),
        help="write OUT as FAMLI's tables and files instead",
    )
    _settings(phantom, "patients=20 twin_fraction=0.1")
    phantom.set_defaults(run=_phantom)

    pack = commands.add_parser("pack", help="pack a cohort's clips into shards")
    pack_command.add_arguments(pack)
    _column_map(pack)
    _settings(pack, "codec=h264 prepare.size_px=128")
    pack.set_defaults(run=_pack, workers=None)

    cohort = commands.add_parser("cohort", help="what to do with a cohort itself")
    cohort_commands = cohort.add_subparsers(required=True, metavar="COMMAND")
    freeze = cohort_commands.add_parser(
        "freeze", help="check a cohort and write it with version and flow"
    )
    freeze.add_argument(
        "cohort", type=Path, metavar="COHORT", help="cohort table, or the folder of a ready layout"
    )
    freeze.add_argument("out", type=Path, metavar="OUT", help="new folder")
    freeze.add_argument(
        "--root",
        type=Path,
        help="folder that the clips' paths are relative to (default: the table's)",
    )
    freeze.add_argument(
        "--shards",
        type=Path,
        help="shards packed from it: what packing rejected is in the flow too",
    )
    _column_map(freeze)
    freeze.set_defaults(run=_freeze)

    inspect = commands.add_parser(
        "inspect", help="count what is in shards, and draw a contact sheet"
    )
    inspect.add_argument("shards", type=Path, metavar="SHARDS")
    inspect.add_argument(
        "--tasks",
        metavar="SET_OR_FILE",
        help="with --cohort: whose labels are counted; a ready set, or a YAML file such as a run's "
        "config (default: p1)",
    )
    inspect.add_argument("--cohort", type=Path, help="cohort table: counts by label as well")
    _column_map(inspect)
    inspect.add_argument("--pseudonym-key", type=Path, help="default: in SHARDS.private")
    inspect.add_argument("--sheet", type=Path, help="where the picture goes (default: here)")
    inspect.add_argument(
        "--privacy", action="store_true", help="show instead what could still tell who a patient is"
    )
    inspect.set_defaults(run=_inspect)

    verify = commands.add_parser(
        "verify", help="read shards again and compare them with their checksums"
    )
    verify.add_argument("shards", type=Path, metavar="SHARDS")
    verify.set_defaults(run=_verify)

    train = commands.add_parser("train", help="run what a config says; run again to continue")
    train.add_argument("config", type=Path, metavar="CONFIG")
    train.add_argument("overrides", nargs="*", metavar="key.path=value")
    train.add_argument(
        "--check",
        type=at_least_1,
        nargs="?",
        const=1,
        metavar="N",
        help="only look for mistakes, as N processes would meet them",
    )
    train.add_argument(
        "--check-device",
        choices=("cpu", "cuda"),
        help="with --check: what those processes will compute on (default: as on this machine)",
    )
    train.set_defaults(run=_train)

    evaluate = commands.add_parser(
        "evaluate", help="tables and report of a run, anew from its predictions"
    )
    evaluate.add_argument("folder", type=Path, metavar="RUN")
    evaluate.set_defaults(run=_evaluate)

    embed = commands.add_parser("embed", help="embed the clips of shards with the encoder of a run")
    embed.add_argument("folder", type=Path, metavar="RUN")
    embed.add_argument("shards", type=Path, metavar="SHARDS")
    embed.add_argument("out", type=Path, metavar="OUT.parquet")
    embed.set_defaults(run=_embed)

    resend = commands.add_parser(
        "resend", help="send a run to a tracking server that was down meanwhile"
    )
    resend.add_argument("folder", type=Path, metavar="RUN")
    resend.set_defaults(run=_resend)

    compare = commands.add_parser(
        "compare", help="the table of an experiment, from the tracker alone"
    )
    compare.add_argument("experiment", metavar="EXPERIMENT")
    compare.add_argument("--uri", help="MLflow server or store (default: mlflow.db under --output)")
    compare.add_argument("--output", type=Path, default=Path("runs"), help="folder of runs")
    compare.set_defaults(run=_compare)
    for command in (*commands.choices.values(), freeze):
        command.set_defaults(parser=command)
    return parser


def _column_map(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--column-map",
        metavar="NAME_OR_PATH",
        help="how to read a foreign layout: nejm_v4, "
        "famli2_enrolled, famli2, famli3, or YAML of your own",
    )


def _settings(parser: argparse.ArgumentParser, example: str) -> None:
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help=f"settings, such as {example}"
    )
    parser.add_argument("--config", type=Path, help="YAML file of settings")
    parser.add_argument(
        "--workers", type=at_least_1, default=len(os.sched_getaffinity(0)), help="processes"
    )


if __name__ == "__main__":
    sys.exit(main())
