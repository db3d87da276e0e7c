"""Forward passes over a set that is shared among processes."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import torch
from gloo import run_ranks
from torch import Tensor, nn

from bsou_dist.engine.processes import Processes
from bsou_dist.engine.speed import SpeedConfig
from bsou_dist.predict.forward import embed

CLIPS, BAD, BATCH = 11, 7, 4


class Encoder(nn.Module):
    dim = 2

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        return clips, torch.stack([clips[:, 0], clips[:, 0] ** 2], dim=1)


class Feed:
    """Clip i is the number i; one of them cannot be decoded."""

    dataset = range(CLIPS)

    def __init__(self, rank: int, world: int) -> None:
        self.rank, self.world = rank, world

    def steps(self) -> int:
        return -(-CLIPS // BATCH)

    def epoch(self, epoch: int) -> Iterator[SimpleNamespace]:
        for step in range(self.steps()):
            index = torch.arange(step * BATCH, min((step + 1) * BATCH, CLIPS))
            index = index[self.rank :: self.world]
            clips = index[:, None].float()
            yield SimpleNamespace(step=step, clips=clips, valid=index != BAD, index=index)


def _on_rank(rank: int, world: int) -> tuple | None:
    processes = Processes(rank, world, "cpu")
    return embed(Encoder(), Feed(rank, world), processes, "embed", SpeedConfig())


def test_the_first_process_alone_has_the_embeddings_in_the_sets_order():
    found, *others = run_ranks(3, _on_rank)
    assert others == [None, None]
    embeddings, is_decoded = found
    numbers = torch.arange(CLIPS).float()
    numbers[BAD] = 0
    expected = torch.stack([numbers, numbers**2], dim=1)
    assert torch.equal(torch.from_numpy(embeddings), expected)
    assert is_decoded.tolist() == [number != BAD for number in range(CLIPS)]
