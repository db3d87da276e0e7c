"""Real processes for tests."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from starter import STARTER


def _rank_main(
    rank: int,
    world: int,
    folder: str,
    backend: str,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(rank))
    dist.init_process_group(
        backend,
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=300),
    )
    try:
        torch.save(function(rank, world, *arguments), Path(folder) / f"{rank}.pt")
    finally:
        dist.destroy_process_group()


def run_ranks(
    world: int, function: Callable[..., Any], *arguments: Any, backend: str = "gloo"
) -> list[Any]:
    """Results of `function(rank, world, *arguments)` from `world` processes, in rank order.

    `function` must be importable (top level of a test module).
    """
    with tempfile.TemporaryDirectory() as folder:
        mp.start_processes(
            _rank_main,
            args=(world, folder, backend, function, arguments),
            nprocs=world,
            start_method=STARTER.get_start_method(),
        )
        return [
            torch.load(Path(folder) / f"{rank}.pt", weights_only=False) for rank in range(world)
        ]
