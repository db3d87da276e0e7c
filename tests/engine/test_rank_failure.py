"""A rank that fails alone: the others hear of it, say so and end. Real processes on gloo."""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path

import pytest
import torch
from starter import STARTER

from bsou_dist.common.errors import InputError, OtherRankFailed
from bsou_dist.common.exit_codes import BAD_INPUT, FAILED, REQUEUE, exit_code_of_error
from bsou_dist.engine.processes import (
    Processes,
    _take_device,
    device_index,
    start_processes,
)
from bsou_dist.engine.rank_failure import FIRST_WORD_S

FOREVER_S = 600.0
"""How long a rank stands that nobody ends."""


def _rank(what: str, rank: int, world: int, port: int, log: Path) -> None:
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(rank))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    try:
        with start_processes() as processes:
            globals()[what](processes)
    except Exception as error:
        print(f"ended by {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(exit_code_of_error(error))


def one_of_three_fails(processes: Processes) -> None:
    """Rank 1 fails; rank 0 waits for it in a collective, and rank 2 stands outside of any."""
    if processes.rank == 1:
        raise InputError("the shards of this node are of another version")
    if processes.rank == 0:
        processes.barrier()
    time.sleep(FOREVER_S)


def all_fail(processes: Processes) -> None:
    """Both ranks fail by errors of their own; one takes its time, after it has said so."""
    processes.tell_failure(MemoryError("told before it is raised"))
    time.sleep(2 * FIRST_WORD_S * processes.rank)
    raise MemoryError(f"no memory for rank {processes.rank}")


def start(what: str, world: int, folder: Path) -> tuple[list[int | None], list[str]]:
    """Exit codes and last words of the ranks that do `what`."""
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    logs = [folder / str(rank) for rank in range(world)]
    ranks = [
        STARTER.Process(target=_rank, args=(what, rank, world, port, logs[rank]))
        for rank in range(world)
    ]
    for process in ranks:
        process.start()
    try:
        for process in ranks:
            process.join(FOREVER_S / 2)
        return [process.exitcode for process in ranks], [log.read_text() for log in logs]
    finally:
        for process in ranks:
            process.kill()


def test_the_others_name_the_rank_its_host_and_its_error_and_end_with_its_code(tmp_path):
    codes, said = start("one_of_three_fails", 3, tmp_path)
    assert codes == [BAD_INPUT] * 3, said
    failure = (
        f"rank 1 on {socket.gethostname()} has failed: InputError: the shards of this node are of "
        "another version. This process ends with it"
    )
    assert failure in said[0]
    assert f"bsou (rank 2): {failure}" in said[2]
    assert "ended by InputError: the shards of this node" in said[1]
    assert "has failed" not in said[1]


def test_ranks_that_fail_together_keep_their_own_messages(tmp_path):
    codes, said = start("all_fail", 2, tmp_path)
    assert codes == [FAILED] * 2
    for rank in range(2):
        # Torch may say before that the store is gone with rank 0.
        assert said[rank].splitlines()[-1] == f"ended by MemoryError: no memory for rank {rank}"
        assert "has failed" not in said[rank]


def test_exit_codes_of_errors(tmp_path):
    with pytest.raises(FileNotFoundError) as missing:
        (tmp_path / "missing").read_text()
    assert exit_code_of_error(missing.value) == BAD_INPUT
    assert exit_code_of_error(OSError(28, "No space left on device")) == FAILED
    assert exit_code_of_error(OtherRankFailed("rank 1", REQUEUE)) == REQUEUE


def test_a_process_takes_the_gpu_of_its_number_or_the_only_one_it_sees():
    assert [device_index(rank, 4) for rank in range(4)] == [0, 1, 2, 3]
    assert device_index(3, 1) == 0, "SLURM has bound one GPU to each task"
    with pytest.raises(InputError, match="shows 2 GPUs to its process 3: start no more"):
        device_index(2, 2)


def test_deepspeed_hears_of_the_same_gpu(monkeypatch):
    """Without one: what torch would say and do where SLURM has bound one to the fourth task."""
    taken = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert _take_device() == ("cuda:0", "nccl")
    assert taken == ["cuda:0"]
    assert os.environ["LOCAL_RANK"] == "0"
