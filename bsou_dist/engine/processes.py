"""The processes of a run: this one's rank, what they tell each other, how they start and end."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from bsou_dist.common.errors import InputError
from bsou_dist.engine.flight_recorder import record_flights
from bsou_dist.engine.keep_memory import keep_freed_memory
from bsou_dist.engine.rank_failure import FailureWatch, raise_first
from bsou_dist.engine.stopping import Stopped, StopSignals
from bsou_dist.engine.watchdog import Watchdog

COLLECTIVE_TIMEOUT = timedelta(minutes=30)
"""Longer than the slowest thing that one rank does while the others wait for it."""

HANG_S = 15 * 60.0
"""How long a process may stand at one place, if nothing else is asked for."""

Value = TypeVar("Value")


@dataclass(frozen=True)
class Processes:
    """This process among those of the run."""

    rank: int
    world: int
    device: str
    signals: StopSignals = field(default_factory=StopSignals)
    watchdog: Watchdog | None = None
    control: dist.ProcessGroup | None = None
    """All processes by gloo, for what is decided on CPUs; None: the default group is gloo itself.

    A GPU that computes is not waited for when they speak here.
    """
    failures: FailureWatch | None = None

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which writes what is written once."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait until all processes are here. Collective."""
        dist.barrier()

    def at(self, where: str | None) -> None:
        """Tell the watchdog where this process stands; None: somewhere that is not watched.

        All processes pass the same places in the same order.
        """
        if self.watchdog:
            self.watchdog.at(where)

    def all_reduce_max(self, value: int) -> int:
        """The largest of all processes' values. Collective."""
        largest = torch.tensor([value])
        dist.all_reduce(largest, dist.ReduceOp.MAX, group=self.control)
        return int(largest.item())

    def broadcast(self, value: Value) -> Value:
        """The first process's value. Collective."""
        values = [value]
        dist.broadcast_object_list(values, src=0, group=self.control)
        return values[0]

    def gather(self, value: Value) -> list[Value]:
        """The values of all processes, by rank. Collective."""
        values = [value] * self.world
        dist.all_gather_object(values, value, group=self.control)
        return values

    def gather_on_first(self, value: Value) -> list[Value] | None:
        """All processes' values in the order of ranks on the first, None elsewhere. Collective."""
        values: list[Any] | None = [None] * self.world if self.first else None
        dist.gather_object(value, values, dst=0, group=self.control)
        return values

    def tell_failure(self, error: BaseException) -> None:
        """Tell the other ranks that this one ends by `error`; they end too, within seconds."""
        if self.failures and not isinstance(error, Stopped):
            self.failures.tell(error)

    def check_stop(self) -> None:
        """Raise `Stopped` on every process if any was asked to stop. Collective."""
        received = self.all_reduce_max(self.signals.received)
        if received:
            raise Stopped(signal.Signals(received))


@contextmanager
def start_processes(hang_s: float = HANG_S, folder: Path | None = None) -> Iterator[Processes]:
    """Join the other processes that a launcher's environment names, and leave them at the end.

    Where no launcher started this process, it is the only one. A process group exists in either
    case, so that nothing behind this has two ways of working: NCCL on GPUs with gloo beside it for
    what CPUs decide, else gloo alone. Signals are noted until the end (see `stopping`), a process
    that stands still for `hang_s` ends the run, and one that fails ends it at once. Records of
    collectives that did not end are left in `folder`.

    Raises:
        InputError: there is no GPU for this process.
        OtherRankFailed: a collective could not end, because another rank has failed.
    """
    rank = int(os.environ.get("RANK", 0))
    world = int(os.environ.get("WORLD_SIZE", 1))
    signals = StopSignals()
    with signals.noted():
        store: dist.Store
        if world == 1:
            store = dist.HashStore()
        else:
            store, _, _ = next(dist.rendezvous("env://", rank, world))
        failures = None
        if world > 1:
            failures = FailureWatch(dist.PrefixStore("failures", store.clone()), rank, world)
        watchdog = None
        # The watchdog must speak first: it says which rank hangs and where.
        timeout = max(COLLECTIVE_TIMEOUT, timedelta(seconds=2 * hang_s))
        together = False
        try:
            device, backend = _take_device()
            if folder:
                record_flights(folder)
            dist.init_process_group(
                backend,
                rank=rank,
                world_size=world,
                store=dist.PrefixStore("ranks", store),
                timeout=timeout,
            )
            control: dist.ProcessGroup | None = None
            if backend != "gloo":
                beside = dist.new_group(backend="gloo", timeout=timeout)
                assert isinstance(beside, dist.ProcessGroup)
                control = beside
            watched = dist.PrefixStore("watchdog", store.clone())
            watchdog = Watchdog(watched, rank, world, hang_s, folder)
            yield Processes(rank, world, device, signals, watchdog, control, failures)
            together = True
        except Stopped:
            together = True
            raise
        except (Exception, KeyboardInterrupt) as error:
            if failures is None:
                raise
            first = failures.tell(error)
            failures.wait_until_known()
            raise_first(error, first, rank)
        finally:
            # A rank that fails alone must not wait for the others: its message would come too late
            # to be seen.
            if (together or world == 1) and dist.is_initialized():
                dist.destroy_process_group()
            if watchdog:
                watchdog.close()
            if failures:
                failures.close()


def _take_device() -> tuple[str, str]:
    """This process's device, made torch's current one, and the backend of its collectives.

    Raises:
        InputError: fewer GPUs are visible than this node has processes.
    """
    if not torch.cuda.is_available():
        keep_freed_memory()
        return "cpu", "gloo"
    index = device_index(int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count())
    device = f"cuda:{index}"
    torch.cuda.set_device(device)
    # DeepSpeed takes it for the number of the device.
    os.environ["LOCAL_RANK"] = str(index)
    return device, "nccl"


def device_index(local_rank: int, visible: int) -> int:
    """Which of the visible GPUs a process takes, by its number among those of its node.

    Where SLURM binds one to each task (`--gpus-per-task`, `--gpu-bind`), a task sees that one only.

    Raises:
        InputError: there are several, and none for this process.
    """
    if visible == 1:
        return 0
    if local_rank >= visible:
        raise InputError(
            f"{socket.gethostname()} shows {visible} GPUs to its process {local_rank + 1}: start "
            "no more processes on a node than it has GPUs"
        )
    return local_rank
