"""The command line of `bsou pack`: here, as a share, or as jobs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from math import inf, nan
from pathlib import Path
from typing import TYPE_CHECKING

from bsou_dist.commands.arguments import add_options, at_least_1, given_options
from bsou_dist.common.errors import InputError
from bsou_dist.engine.stopping import StopSignals

if TYPE_CHECKING:
    from bsou_dist.commands.pack_cohort import PackOrder
    from bsou_dist.packing.folder import PackSummary
    from bsou_dist.packing.pack import Share

ONE_PROCESS = {"nodes": 1, "gpus_per_node": 0, "tasks_per_node": None}
"""What a job takes, without a choice: it is one `bsou pack`, which starts its workers itself."""

DONE = 0

# As in cli.py, the rooms that do the work are imported when there is work.


def add_arguments(pack: argparse.ArgumentParser) -> None:
    """All of `bsou pack` but its settings and what reading a cohort takes everywhere."""
    pack.add_argument("cohort", type=Path, metavar="COHORT", help="cohort table, CSV or Parquet")
    pack.add_argument("out", type=Path, metavar="OUT", help="shard folder")
    pack.add_argument(
        "--root",
        type=Path,
        help="folder that the table's paths are relative to (default: the table's)",
    )
    pack.add_argument(
        "--private", type=Path, help="folder for key and rejects.csv (default: OUT.private)"
    )
    pack.add_argument(
        "--seconds-per-clip",
        type=_above_0,
        default=120.0,
        metavar="S",
        help="reject a clip that takes longer (default 120)",
    )
    pack.add_argument(
        "--memory-per-clip",
        type=at_least_1,
        default=4096,
        metavar="MB",
        help="reject a clip that needs more memory (default 4096)",
    )
    pack.add_argument(
        "--max-rejects",
        type=_share_of_1,
        default=0.5,
        metavar="SHARE",
        help="stop when more than this share of the last 1000 clips was rejected (default 0.5)",
    )
    what = pack.add_mutually_exclusive_group()
    what.add_argument(
        "--estimate", action="store_true", help="say what packing will take, and keep nothing"
    )
    what.add_argument(
        "--begin", action="store_true", help="make all ready for --share, and pack nothing"
    )
    what.add_argument(
        "--share",
        type=_share,
        metavar="K/N",
        help="pack every N-th shard from the K-th on, and leave "
        "it to the same command without --share to finish",
    )
    jobs = pack.add_argument_group("packing as jobs (docs/packing.md)")
    jobs.add_argument(
        "--executor", choices=("slurm", "local"), help="pack as an array of jobs, on SLURM or here"
    )
    jobs.add_argument(
        "--array", type=at_least_1, metavar="N", help="how many jobs share the work (default 1)"
    )
    way = jobs.add_mutually_exclusive_group()
    way.add_argument(
        "--follow",
        dest="way",
        action="store_const",
        const="follow",
        help="stay until all have ended",
    )
    way.add_argument(
        "--dry-run",
        dest="way",
        action="store_const",
        const="dry_run",
        help="print the batch scripts",
    )
    add_options(jobs, without=ONE_PROCESS)


def run(options: argparse.Namespace, main: Callable[[Sequence[str]], int]) -> int:
    """Do what the arguments say; `main` is the `bsou` command, for jobs. Returns the exit code.

    Raises:
        InputError: an argument, the cohort or the folder is at fault.
        PackFailed: too many rejects, or shards that are missing at the end.
        Stopped: by a signal; what is not a whole shard by then is packed again.
    """
    from bsou_dist.commands.pack_cohort import PackOrder
    from bsou_dist.common.settings import read_settings
    from bsou_dist.common.worker_pool import Limits
    from bsou_dist.packing.encode_clip import PackConfig
    from bsou_dist.shards.pseudonyms import default_private_dir

    order = PackOrder(
        options.cohort,
        options.root,
        options.column_map,
        options.out,
        options.private or default_private_dir(options.out),
        read_settings(PackConfig, options.config, options.overrides),
        Limits(options.seconds_per_clip, options.memory_per_clip),
        options.max_rejects,
    )
    if options.executor:
        return _run_jobs(options, order, main)
    if surplus := [
        *given_options(options),
        *(name for name in ("array", "way") if getattr(options, name)),
    ]:
        name = (options.way if surplus[0] == "way" else surplus[0]).replace("_", "-")
        raise InputError(f"--{name} is for jobs; add --executor slurm")
    signals = StopSignals()
    with signals.noted(), signals.raised():
        summary = _run_here(options, order)
    if summary is not None:
        _print(summary, order)
    return DONE


def _run_here(options: argparse.Namespace, order: PackOrder) -> PackSummary | None:
    from bsou_dist.commands.pack_cohort import begin_order, only_estimate, pack_all, pack_one_share
    from bsou_dist.packing.folder import PackSummary

    workers = options.workers or _cpus()
    if options.estimate:
        return only_estimate(order, workers)
    if options.share:
        packed = pack_one_share(order, options.share, workers)
        if isinstance(packed, PackSummary):
            return packed
        print(
            f"share {options.share} is packed: {_shards(len(options.share.shards(packed.plan)))} "
            "of "
            f"{len(packed.plan.shards)}; when all shares are, the same command without --share "
            f"finishes {order.out}"
        )
        return None
    if options.begin:
        begun = begin_order(order, workers)
        if isinstance(begun, PackSummary):
            return begun
        print(
            f"{order.out} is begun: {_shards(len(begun.plan.shards))} to pack; go on with --share "
            "1/N to N/N instead "
            "of --begin, then with neither to finish"
        )
        return None
    return pack_all(order, workers)


def _run_jobs(
    options: argparse.Namespace, order: PackOrder, main: Callable[[Sequence[str]], int]
) -> int:
    from bsou_dist.cluster.pack_jobs import plan_pack
    from bsou_dist.cluster.plan import read_options
    from bsou_dist.cluster.run_plan import Way, run_plan
    from bsou_dist.cluster.submit import require_slurm
    from bsou_dist.commands.pack_cohort import begin_order, only_estimate
    from bsou_dist.packing.folder import PackSummary

    local = options.executor == "local"
    if options.share or options.begin:
        raise InputError("--share and --begin are what --executor does itself; leave them out")
    if local and options.way:
        raise InputError(f"--{options.way.replace('_', '-')} is for --executor slurm")
    way: Way = "local" if local else options.way or "submit"
    slurm, array = read_options(given_options(options) | ONE_PROCESS), options.array or 1
    workers = options.workers or (_cpus() if local else slurm.cpus_per_task)
    plan = plan_pack(
        [*_command(options), "--workers", str(workers)],
        array,
        slurm,
        order.out.with_name(f"{order.out.name}.slurm"),
    )
    if way == "dry_run":
        return run_plan(plan, main, way)
    at_once = 1 if local else array
    if options.estimate:
        if (summary := only_estimate(order, workers, at_once)) is not None:
            _print(summary, order)
        return DONE
    if not local:
        require_slurm()
    begun = begin_order(order, workers, at_once)  # here, so that the jobs need not race for it
    if isinstance(begun, PackSummary):
        _print(begun, order)
        return DONE
    return run_plan(plan, main, way)


def _command(options: argparse.Namespace) -> list[str]:
    """The arguments again, but for those of jobs."""
    words = ["pack", str(options.cohort), str(options.out), *options.overrides]
    for name in (
        "root",
        "column_map",
        "private",
        "config",
        "seconds_per_clip",
        "memory_per_clip",
        "max_rejects",
    ):
        if (value := getattr(options, name)) is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return words


def _print(summary: PackSummary, order: PackOrder) -> None:
    from bsou_dist.packing.private_folder import REJECTS_NAME

    print(summary)
    if summary.rejects:
        print(
            f"note: {order.private / REJECTS_NAME} tells which clips were rejected and why",
            file=sys.stderr,
        )


def _shards(count: int) -> str:
    return f"{count} {'shard' if count == 1 else 'shards'}"


def _cpus() -> int:
    return len(os.sched_getaffinity(0))


def _share(text: str) -> Share:
    from bsou_dist.packing.pack import Share

    number, slash, of = text.partition("/")
    if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no share; write K/N with K from 1 to N, such as 3/64"
        )
    return Share(int(number), int(of))


def _share_of_1(text: str) -> float:
    return _number(text, lambda value: 0 <= value <= 1, "a number from 0 to 1")


def _above_0(text: str) -> float:
    return _number(text, lambda value: 0 < value < inf, "a number above 0")


def _number(text: str, allowed: Callable[[float], bool], what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = nan
    if not allowed(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
    return value
