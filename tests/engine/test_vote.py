"""The late vote: nobody waits to cast one, and all read the same outcome."""

from __future__ import annotations

import torch.distributed as dist
from gloo import run_ranks

from bsou_dist.engine.processes import Processes
from bsou_dist.engine.vote import LateVote

CAST = "the first rank has cast its vote"


def _vote(rank: int, world: int) -> list[int]:
    store = dist.distributed_c10d._get_default_store()
    vote = LateVote(Processes(rank, world, "cpu"))
    outcomes = [vote.outcome()]
    for wish in ([0, 7], [1, 0], [0, 0]):
        if rank == 1:
            store.wait([CAST])  # for ever, if the first rank waited for this one
        vote.cast(wish[rank])
        if rank == 0:
            store.set(CAST, "")
        outcomes.append(vote.outcome())
    return outcomes


def test_all_ranks_read_the_largest_wish_and_none_waits_to_cast_its_own():
    assert run_ranks(2, _vote) == [[0, 7, 1, 0]] * 2
