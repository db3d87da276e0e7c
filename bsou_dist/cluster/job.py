"""What every task of a job runs."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

import submitit

from bsou_dist.cluster.blocked_signals import STOP_SIGNALS
from bsou_dist.common.exit_codes import REQUEUE

Bsou = Callable[[Sequence[str]], int]
"""The `bsou` command: takes its arguments, returns its exit code."""

STOPPED_MARK = "stopped"
"""`<job id>_stopped` in a job's folder tells its batch script to requeue the job."""


@dataclass(frozen=True)
class EarlierJob:
    """A job that this one comes after, whatever became of it."""

    title: str
    result: Path
    """There if it ended well."""
    log: Path


@dataclass(frozen=True)
class BsouJob:
    """A `bsou` command as a job of one or several tasks; submitit calls it in each of them."""

    bsou: Bsou
    arguments: tuple[str, ...]
    folder: Path
    earlier: tuple[EarlierJob, ...] = ()

    def __call__(self) -> int:
        """Run the command as a task of SLURM's.

        Returns 0, or ends the process with the command's exit code. Submitit's own handler of
        signals would checkpoint and requeue from task 0 alone, in the midst of a step, and count
        signals under short limits as time-outs. So it is replaced before any signal is let in.
        """
        for number in STOP_SIGNALS:
            signal.signal(number, self._stop_early)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        task = submitit.JobEnvironment()
        os.environ.update(rank_environment(task))
        if task.global_rank == 0:
            self.tell_failures()
        code = self.bsou(self.arguments)
        _ignore_signals()
        if code == REQUEUE:
            self._mark()
            # Code 0, because any other makes srun end tasks that have not quite finished.
            sys.exit()
        if code:
            sys.exit(code)
        return code

    def tell_failures(self) -> None:
        """Name the jobs before this one that did not end well."""
        for job in self.earlier:
            if not job.result.is_file():
                print(f"note: {job.title} did not end well; see {job.log}", file=sys.stderr)

    def _stop_early(self, number: int, frame: FrameType | None) -> NoReturn:
        """End this process, told to stop while the command has no handler of its own.

        Nothing is under way then that needs saving. It ends here and now: an exception would pass
        through whatever is being imported, and C++ that does not expect one aborts.
        """
        _ignore_signals()
        self._mark()
        for stream in (sys.stdout, sys.stderr):
            with suppress(RuntimeError):  # it was being written to
                stream.flush()
        # This code makes srun end the other tasks, which may be waiting for this one.
        os._exit(REQUEUE)

    def _mark(self) -> None:
        (self.folder / f"{os.environ['SLURM_JOB_ID']}_{STOPPED_MARK}").touch()


def _ignore_signals() -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def rank_environment(task: submitit.JobEnvironment) -> dict[str, str]:
    """Environment variables that torch.distributed and DeepSpeed want.

    CUDA_VISIBLE_DEVICES stays as SLURM set it, all GPUs of the job on this node: each process takes
    the one of its LOCAL_RANK. The port comes from the job's id, since jobs share nodes, and changes
    with each restart, since the old one may still be held for a minute.
    """
    job_id = int(task.raw_job_id)
    restarts = int(os.environ.get("SLURM_RESTART_COUNT", 0))
    port = 10_000 + (job_id + 101 * restarts) % 20_000
    return {
        "RANK": str(task.global_rank),
        "WORLD_SIZE": str(task.num_tasks),
        "LOCAL_RANK": str(task.local_rank),
        "LOCAL_WORLD_SIZE": str(task.num_tasks // task.num_nodes),
        "MASTER_ADDR": task.hostnames[0],
        "MASTER_PORT": str(port),
    }
