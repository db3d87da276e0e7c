"""A short look, before anything begins, at whether every process can do what it is there for.

One bad node among many would otherwise show up as a hang, or as a wrong sum that nobody sees.
Whatever is found names the node; the rank that finds it tells the others (`rank_failure`).
"""

from __future__ import annotations

import resource
import shutil
import socket
from collections import Counter
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from bsou_dist.engine.processes import Processes

MIN_OPEN_FILES = 1024
"""Open files that a process may ask for: its shards, its threads' pipes, its libraries."""

COPIES_OF_WEIGHTS = 4
"""What one save of a stage writes: weights and two moments, and the weights of the best."""


class NodeUnfit(RuntimeError):
    """A node cannot do its part; the message names it, what is wrong, and what to do."""


def check_health(processes: Processes) -> None:
    """Check the device, the devices of all processes together, and the limit on open files.

    Collective.

    Raises:
        NodeUnfit: something fails on this process's node, or on one that shares a sum with it.
    """
    node = f"rank {processes.rank} on {socket.gethostname()}"
    check_open_files(node)
    processes.at("the check of all nodes")
    check_device(processes.device, node)
    _check_apart(processes)
    check_sum(processes, node)
    processes.at(None)


def check_open_files(node: str) -> None:
    """Raise `NodeUnfit` if this process may open too few files."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < MIN_OPEN_FILES:
        raise NodeUnfit(
            f"{node} may open {most} files and needs {MIN_OPEN_FILES}: raise the node's hard limit "
            "(ulimit -Hn, LimitNOFILE of slurmd)"
        )


def check_device(device: str, node: str) -> None:
    """Raise `NodeUnfit` if a small product comes out wrong on the device, or not at all."""
    rows = torch.arange(64.0).reshape(8, 8)
    expected = rows @ rows
    try:
        found = (rows.to(device) @ rows.to(device)).cpu()
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise NodeUnfit(f"{node}: {device} does not compute ({reason}); leave it out") from error
    # Sums of whole numbers below 2^24 are exact; TF32 would round the factors of some of them.
    if not torch.allclose(found, expected, rtol=1e-2):
        raise NodeUnfit(f"{node}: {device} computes wrong products; leave the node out")


def check_sum(processes: Processes, node: str) -> None:
    """Raise `NodeUnfit` if the sum of all ranks' numbers is not theirs. Collective."""
    numbers = torch.full((1024,), processes.rank + 1.0, device=processes.device)
    dist.all_reduce(numbers)
    expected = processes.world * (processes.world + 1) / 2
    wrong = numbers.cpu() != expected
    if wrong.any():
        found = numbers.cpu()[wrong][0].item()
        raise NodeUnfit(
            f"{node}: the sum over all {processes.world} ranks is {found:g} and not {expected:g}: "
            "look at the network between the nodes"
        )


def check_room(folder: Path, network: nn.Module) -> None:
    """Raise `NodeUnfit` if the first process could not save the training of `network` once."""
    weights = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    needed = COPIES_OF_WEIGHTS * weights
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise NodeUnfit(
            f"{folder}, as {socket.gethostname()} sees it, has {free / 1e6:.0f} MB free, and one "
            f"checkpoint takes {needed / 1e6:.0f} MB: make room, or set output to another place"
        )


def _check_apart(processes: Processes) -> None:
    """Raise `NodeUnfit` if two processes of a node compute on one GPU. Collective."""
    if processes.device == "cpu":
        return
    gpu = str(torch.cuda.get_device_properties(processes.device).uuid)
    taken = Counter(processes.gather((socket.gethostname(), gpu)))
    for (host, _), count in taken.items():
        if count > 1:
            raise NodeUnfit(
                f"{count} processes on {host} compute on the same GPU: start one for each"
            )
