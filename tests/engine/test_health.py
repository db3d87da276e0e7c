"""What is looked at before a run begins, and that a fault names its node."""

from __future__ import annotations

import dataclasses
import resource
import socket
from pathlib import Path

import pytest
from gloo import run_ranks
from torch import nn

from bsou_dist.engine.health import (
    MIN_OPEN_FILES,
    NodeUnfit,
    check_device,
    check_health,
    check_open_files,
    check_room,
    check_sum,
)
from bsou_dist.engine.processes import Processes


def _checked(rank: int, world: int) -> tuple[str, str]:
    processes = Processes(rank, world, "cpu")
    check_health(processes)
    # The second rank adds what is not its number.
    other = dataclasses.replace(processes, rank=5) if rank else processes
    with pytest.raises(NodeUnfit) as wrong_sum:
        check_sum(other, f"rank {rank} on the node")
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512))
    with pytest.raises(NodeUnfit) as too_few:
        check_open_files(f"rank {rank} on the node")
    return str(wrong_sum.value), str(too_few.value)


def test_a_wrong_sum_and_too_few_files_are_refused_and_healthy_ranks_are_not():
    for rank, (wrong_sum, too_few) in enumerate(run_ranks(2, _checked)):
        node = f"rank {rank} on the node"
        assert wrong_sum.startswith(f"{node}: the sum over all 2 ranks is 7 and not 3")
        assert too_few.startswith(f"{node} may open 512 files and needs {MIN_OPEN_FILES}")


def test_a_device_that_does_not_compute_is_refused():
    check_device("cpu", "rank 0 on a")
    with pytest.raises(NodeUnfit, match=r"rank 0 on a: meta does not compute \("):
        check_device("meta", "rank 0 on a")


def test_a_folder_without_room_for_a_checkpoint_is_refused(tmp_path: Path):
    check_room(tmp_path, nn.Linear(8, 8))
    large = nn.Linear(10**6, 10**6, device="meta")
    with pytest.raises(NodeUnfit, match="and one checkpoint takes 160000") as refused:
        check_room(tmp_path, large)
    assert socket.gethostname() in str(refused.value)
