"""The processes of a run: who this one is, and how they start and end together."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

COLLECTIVE_TIMEOUT = timedelta(minutes=30)  # longer than the slowest thing one rank does while the others wait


@dataclass(frozen=True)
class Processes:
    """This process among those of the run."""

    rank: int
    world: int
    device: str

    @property
    def first(self) -> bool:
        """Whether this one writes what is written once."""
        return self.rank == 0

    def wait(self) -> None:
        """Until all processes are here."""
        dist.barrier()


@contextmanager
def start_processes() -> Iterator[Processes]:
    """Join the other processes, as the launcher's environment names them; alone where no launcher did.

    A process group exists in either case, so that nothing behind this has two ways of working. NCCL on GPUs, gloo else.
    """
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    device = "cpu"
    if torch.cuda.is_available():
        device = f"cuda:{int(os.environ.get('LOCAL_RANK', 0))}"
        torch.cuda.set_device(device)
    where = {} if world > 1 else {"store": dist.HashStore()}
    dist.init_process_group("nccl" if device != "cpu" else "gloo", rank=rank, world_size=world,
                            timeout=COLLECTIVE_TIMEOUT, **where)  # type: ignore[arg-type]
    try:
        yield Processes(rank, world, device)
    finally:
        dist.destroy_process_group()
