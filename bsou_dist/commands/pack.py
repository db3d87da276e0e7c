"""The command line of `bsou pack`: here, as a share, or as jobs."""

from __future__ import annotations

import argparse
import os
import sys
from math import inf, nan
from pathlib import Path
from typing import TYPE_CHECKING

from bsou_dist.commands.arguments import (
    add_column_map,
    add_options,
    add_settings,
    add_strict,
    at_least_1,
    given_options,
)
from bsou_dist.common.errors import InputError
from bsou_dist.common.exit_codes import DONE, FAILED, exit_code_of_stop
from bsou_dist.engine.stopping import Stopped, StopSignals

if TYPE_CHECKING:
    from bsou_dist.packing.cohort_source import CohortSource
    from bsou_dist.packing.encode_clip import PackConfig
    from bsou_dist.packing.pack import Packer
    from bsou_dist.packing.plan import Share

ONE_PROCESS = {"nodes": 1, "gpus_per_node": 0, "tasks_per_node": None}
"""What a job takes, without a choice: it is one `bsou pack`, which starts its workers itself."""

HELP = "pack a cohort's clips into shards"


def add_arguments(pack: argparse.ArgumentParser) -> None:
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
    steps = pack.add_mutually_exclusive_group()
    steps.add_argument(
        "--estimate", action="store_true", help="say what packing will take, and keep nothing"
    )
    steps.add_argument(
        "--begin", action="store_true", help="make all ready for --share, and pack nothing"
    )
    steps.add_argument(
        "--share",
        type=_share,
        metavar="K/N",
        help="pack every N-th shard from the K-th on, and leave it to the same command without "
        "--share to finish",
    )

    jobs = pack.add_argument_group("packing as jobs (docs/packing.md)")
    jobs.add_argument(
        "--executor", choices=("slurm", "local"), help="pack as an array of jobs, on SLURM or here"
    )
    jobs.add_argument(
        "--array", type=at_least_1, metavar="N", help="how many jobs share the work (default 1)"
    )
    ways = jobs.add_mutually_exclusive_group()
    for way, about in (
        ("follow", "stay until all have ended"),
        ("dry_run", "print the batch scripts"),
    ):
        option = f"--{way.replace('_', '-')}"
        ways.add_argument(option, dest="way", action="store_const", const=way, help=about)
    add_options(jobs, without=ONE_PROCESS)
    add_column_map(pack)
    add_strict(pack)
    add_settings(pack, "codec=h264 prepare.size_px=128")
    pack.set_defaults(workers=None)  # as many as there are cores for each job


def run(options: argparse.Namespace) -> int:
    from bsou_dist.common.settings import read_settings
    from bsou_dist.packing.encode_clip import PackConfig
    from bsou_dist.packing.folder import PackFailed

    config = read_settings(PackConfig, options.config, options.overrides)
    try:
        if options.executor:
            return _run_jobs(options, config)
        _refuse_options_of_jobs(options)
        packer = _packer(options, config, options.workers or _cpus())
        signals = StopSignals()
        with signals.noted(), signals.raised():
            _run_here(options, packer)
        _print_summary(packer, options)
    except Stopped as stopped:
        message = f"{stopped}; the same command goes on after the last whole shard"
        print(f"bsou: {message}", file=sys.stderr)
        return exit_code_of_stop(stopped.by)
    except PackFailed as error:
        print(f"bsou: {error}", file=sys.stderr)
        return FAILED
    return DONE


def _refuse_options_of_jobs(options: argparse.Namespace) -> None:
    """InputError if an option was given that needs `--executor`."""
    surplus = list(given_options(options))
    if options.array:
        surplus.append("array")
    if options.way:
        surplus.append(options.way)
    if surplus:
        raise InputError(f"--{surplus[0].replace('_', '-')} is for jobs; add --executor slurm")


def _packer(options: argparse.Namespace, config: PackConfig, workers: int) -> Packer:
    from bsou_dist.common.worker_pool import Limits
    from bsou_dist.packing.pack import Packer

    return Packer(
        options.out,
        private=_private_dir(options),
        config=config,
        workers=workers,
        limits=Limits(options.seconds_per_clip, options.memory_per_clip),
        max_rejects=options.max_rejects,
    )


def _cohort_source(options: argparse.Namespace) -> CohortSource:
    from bsou_dist.packing.cohort_source import CohortSource

    return CohortSource(options.cohort, options.root, options.column_map, options.strict)


def _private_dir(options: argparse.Namespace) -> Path:
    from bsou_dist.shards.pseudonyms import default_private_dir

    private: Path = options.private or default_private_dir(options.out)
    return private


def _run_here(options: argparse.Namespace, packer: Packer) -> None:
    """Take the steps that were asked for in this process; none of them on a finished folder."""
    cohort = _cohort_source(options)
    if options.share:
        packer.resume()
        if packer.summary is None:
            packer.pack_share(options.share)
            shards = len(options.share.shards(packer.plan))
            print(
                f"share {options.share} is packed: {_count_of_shards(shards)} of "
                f"{len(packer.plan.shards)}; when all shares are, the same command without --share "
                f"finishes {options.out}"
            )
    elif options.begin:
        packer.make_plan(cohort)
        if packer.summary is None:
            packer.begin()
            shards = len(packer.plan.shards)
            print(
                f"{options.out} is begun: {_count_of_shards(shards)} to pack; go on with --share "
                "1/N to N/N instead of --begin, then with neither to finish"
            )
    elif options.estimate:
        _estimate(packer, cohort, jobs=1)
    else:
        packer.run(cohort)


def _estimate(packer: Packer, cohort: CohortSource, *, jobs: int) -> None:
    """Print what packing will take and keep nothing, not even a new key."""
    packer.make_plan(cohort, keep_new_key=False)
    if packer.summary is None:
        packer.estimate(jobs=jobs)


def _run_jobs(options: argparse.Namespace, config: PackConfig) -> int:
    """Pack as an array of jobs; the folder is begun here, so that they need not race for it."""
    from bsou_dist.cluster.pack_jobs import plan_pack
    from bsou_dist.cluster.plan import read_options
    from bsou_dist.cluster.run_plan import Way, run_plan
    from bsou_dist.cluster.submit import require_slurm

    is_local = options.executor == "local"
    if options.share or options.begin:
        raise InputError("--share and --begin are what --executor does itself; leave them out")
    if is_local and options.way:
        raise InputError(f"--{options.way.replace('_', '-')} is for --executor slurm")
    way: Way = "local" if is_local else options.way or "submit"
    slurm_options = read_options(given_options(options) | ONE_PROCESS)
    array = options.array or 1
    workers = options.workers or (_cpus() if is_local else slurm_options.cpus_per_task)
    command = [*_command(options), "--workers", str(workers)]
    log_folder = options.out.with_name(f"{options.out.name}.slurm")
    plan = plan_pack(command, array, slurm_options, log_folder)
    if way == "dry_run":
        return run_plan(plan, options.main, way)

    packer = _packer(options, config, workers)
    cohort = _cohort_source(options)
    jobs_at_once = 1 if is_local else array
    if options.estimate:
        _estimate(packer, cohort, jobs=jobs_at_once)
        _print_summary(packer, options)
        return DONE
    if not is_local:
        require_slurm()
    packer.make_plan(cohort)
    if packer.summary is not None:
        _print_summary(packer, options)
        return DONE
    packer.begin(jobs=jobs_at_once)
    return run_plan(plan, options.main, way)


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
        value = getattr(options, name)
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    if options.strict:
        words.append("--strict")
    return words


def _print_summary(packer: Packer, options: argparse.Namespace) -> None:
    """Tell what the folder holds, if it is finished."""
    from bsou_dist.packing.private_folder import REJECTS_NAME

    if packer.summary is None:
        return
    print(packer.summary)
    if packer.summary.rejects:
        rejects = _private_dir(options) / REJECTS_NAME
        print(f"note: {rejects} tells which clips were rejected and why", file=sys.stderr)


def _count_of_shards(count: int) -> str:
    return f"{count} {'shard' if count == 1 else 'shards'}"


def _cpus() -> int:
    return len(os.sched_getaffinity(0))


def _share(text: str) -> Share:
    """A share K/N, for argparse."""
    from bsou_dist.packing.plan import Share

    number, slash, of = text.partition("/")
    is_share = slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)
    if not is_share:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no share; write K/N with K from 1 to N, such as 3/64"
        )
    return Share(int(number), int(of))


def _share_of_1(text: str) -> float:
    """A number from 0 to 1, for argparse."""
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def _above_0(text: str) -> float:
    """A finite number above 0, for argparse."""
    value = _number(text)
    if not 0 < value < inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def _number(text: str) -> float:
    """A number; nan, which is in no range, for any other text."""
    try:
        return float(text)
    except ValueError:
        return nan
