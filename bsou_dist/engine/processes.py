"""The processes of a run: who this one is, and how they start and end together."""

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

COLLECTIVE_TIMEOUT = timedelta(
    minutes=30
)  # longer than the slowest thing one rank does while the others wait
HANG_S = 15 * 60.0

Value = TypeVar("Value")


@dataclass(frozen=True)
class Processes:
    """This process among those of the run."""

    rank: int
    world: int
    device: str
    signals: StopSignals = field(default_factory=StopSignals)
    watchdog: Watchdog | None = None

    @property
    def first(self) -> bool:
        """Whether this one writes what is written once."""
        return self.rank == 0

    def barrier(self) -> None:
        """Until all processes are here."""
        dist.barrier()

    def at(self, where: str | None) -> None:
        """Note where this process stands, for the watchdog; all processes pass the same places.
        None: not watched.
        """
        if self.watchdog:
            self.watchdog.at(where)

    def all_reduce_max(self, value: int) -> int:
        """The largest of all processes' values. Collective."""
        votes = torch.tensor([value], device=self.device)
        dist.all_reduce(votes, dist.ReduceOp.MAX)
        return int(votes.item())

    def broadcast(self, value: Value) -> Value:
        """The first process's value. Collective."""
        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]

    def check_stop(self) -> None:
        """Raise `Stopped` on every process if any was asked to stop. Collective."""
        if by := self.all_reduce_max(self.signals.received):
            raise Stopped(signal.Signals(by))


@contextmanager
def start_processes(hang_s: float = HANG_S) -> Iterator[Processes]:
    """Join the other processes, as the launcher's environment names them; alone where no launcher
    did.

    A process group exists in either case, so that nothing behind this has two ways of working. NCCL
    on GPUs, gloo else. Signals are noted until the end (see `stopping`), and a process that stands
    still for `hang_s` ends the run.
    """
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    device = "cpu"
    if torch.cuda.is_available():
        device = f"cuda:{int(os.environ.get('LOCAL_RANK', 0))}"
        torch.cuda.set_device(device)
    else:
        keep_freed_memory()
    signals = StopSignals()
    with signals.noted():
        store = dist.HashStore() if world == 1 else next(dist.rendezvous("env://", rank, world))[0]
        dist.init_process_group(
            "nccl" if device != "cpu" else "gloo",
            rank=rank,
            world_size=world,
            store=dist.PrefixStore("ranks", store),
            timeout=max(COLLECTIVE_TIMEOUT, timedelta(seconds=2 * hang_s)),
        )
        watchdog = Watchdog(dist.PrefixStore("watchdog", store.clone()), rank, world, hang_s)
        together = False
        try:
            yield Processes(rank, world, device, signals, watchdog)
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
