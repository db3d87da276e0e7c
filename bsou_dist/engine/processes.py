"""The processes of a run: this one's rank, what they tell each other, how they start and end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

from bsou_dist.engine.keep_memory import keep_freed_memory
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

    def check_stop(self) -> None:
        """Raise `Stopped` on every process if any was asked to stop. Collective."""
        received = self.all_reduce_max(self.signals.received)
        if received:
            raise Stopped(signal.Signals(received))


@contextmanager
def start_processes(hang_s: float = HANG_S) -> Iterator[Processes]:
    """Join the other processes that a launcher's environment names, and leave them at the end.

    Where no launcher started this process, it is the only one. A process group exists in either
    case, so that nothing behind this has two ways of working: NCCL on GPUs with gloo beside it for
    what CPUs decide, else gloo alone. Signals are noted until the end (see `stopping`), and a
    process that stands still for `hang_s` ends the run.
    """
    rank = int(os.environ.get("RANK", 0))
    world = int(os.environ.get("WORLD_SIZE", 1))
    if torch.cuda.is_available():
        device, backend = f"cuda:{int(os.environ.get('LOCAL_RANK', 0))}", "nccl"
        torch.cuda.set_device(device)
    else:
        device, backend = "cpu", "gloo"
        keep_freed_memory()
    signals = StopSignals()
    with signals.noted():
        store: dist.Store
        if world == 1:
            store = dist.HashStore()
        else:
            store, _, _ = next(dist.rendezvous("env://", rank, world))
        # The watchdog must speak first: it says which rank hangs and where.
        timeout = max(COLLECTIVE_TIMEOUT, timedelta(seconds=2 * hang_s))
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
        watchdog = Watchdog(dist.PrefixStore("watchdog", store.clone()), rank, world, hang_s)
        together = False
        try:
            yield Processes(rank, world, device, signals, watchdog, control)
            together = True
        except Stopped:
            together = True
            raise
        finally:
            # A rank that fails alone must not wait for the others: its message would come too late
            # to be seen.
            if together or world == 1:
                dist.destroy_process_group()
            watchdog.close()
