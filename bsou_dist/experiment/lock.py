"""One job at a time in a run's folder."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from bsou_dist.common.errors import InputError
from bsou_dist.common.files import write_text
from bsou_dist.engine.processes import Processes

LOCK, HOLDER = ".lock", ".holder.json"
PATIENCE_S = 5.0
"""For another process that only looks whether the lock is free."""
RESTART_PATIENCE_S = 120.0
"""For a network file system to notice that the node which held the lock has died."""


@contextmanager
def locked(folder: Path, processes: Processes) -> Iterator[None]:
    """Hold the folder of a run, on the first process, for all of them. Collective.

    The lock is the file system's own (flock) and ends with the process that holds it, however that
    dies.

    Raises:
        InputError: on every process, if another job holds it; the message says which.
    """
    lock = FileLock(folder / LOCK)
    fault = None
    if processes.first:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(
                timeout=RESTART_PATIENCE_S if "SLURM_RESTART_COUNT" in os.environ else PATIENCE_S
            )
            write_text(folder / HOLDER, json.dumps(_me()))
        except Timeout:
            fault = _refusal(folder)
    if fault := processes.broadcast(fault):
        raise InputError(fault)
    try:
        yield
    finally:
        if processes.first:
            (folder / HOLDER).unlink(missing_ok=True)
            lock.release()


def check_unlocked(folder: Path) -> None:
    """InputError if another job holds the folder now."""
    if not (folder / HOLDER).is_file():
        return
    try:
        with FileLock(folder / LOCK, timeout=PATIENCE_S):
            pass
    except Timeout:
        raise InputError(_refusal(folder)) from None


def _me() -> dict[str, str]:
    job = os.environ.get("SLURM_JOB_ID")
    return {
        "process": f"process {os.getpid()} on {socket.gethostname()}"
        + (f", SLURM job {job}" if job else ""),
        "since": f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S %z}",
    }


def _refusal(folder: Path) -> str:
    try:
        holder = json.loads((folder / HOLDER).read_text())
        who = f"{holder['process']}, since {holder['since']}"
    except (OSError, ValueError, KeyError):
        who = "another job"
    return (
        f"{folder} is being trained in by {who}; wait for it or stop it, or give this run another "
        "name"
    )
