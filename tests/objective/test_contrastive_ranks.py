"""The contrastive loss at 1 to 4 ranks, through every engine, whole and cached.

Held against the plain form in one process.
"""

from __future__ import annotations

import math

import pytest
import torch
from gloo import run_ranks
from torch import Tensor, nn
from torch.nn import functional as F

from bsou_dist.engine.caching import CachedStep
from bsou_dist.engine.make import EngineConfig, make_engine
from bsou_dist.engine.optim.config import OptimConfig
from bsou_dist.engine.processes import Processes
from bsou_dist.engine.step import train_step
from bsou_dist.feed.batch import Batch
from bsou_dist.objective import contrastive_tiled as tiled
from bsou_dist.objective.contrastive import multitask_supcon
from bsou_dist.objective.contrastive_reference import reference_multitask_supcon

ROWS, CACHE_ROWS = 17, 4
CUTS = {1: [(17,)], 2: [(9, 8), (17, 0)], 3: [(5, 12, 0)], 4: [(4, 4, 4, 5), (0, 15, 0, 2)]}
"""Rows per rank. The last two rows are padding, so that one cut has a rank without a valid row."""
ENGINES = [
    ("ddp", 0, torch.float64),
    ("ddp", 0, torch.float32),
    # DeepSpeed takes no float64.
    ("deepspeed", 0, torch.float32),
    ("deepspeed", 1, torch.float32),
    ("deepspeed", 2, torch.float32),
    ("deepspeed", 3, torch.float32),
]
TOLERANCE = {torch.float64: 1e-10, torch.float32: 5e-5}
BETA1 = 0.9
"""Adam's: after one step from nothing, its first moment is (1 - beta1) times the gradient."""


class Heads(nn.Module):
    """Two projection heads that train the temperature: z / sqrt(tau), for a loss with tau = 1."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 8)
        self.heads = nn.ModuleList([nn.Linear(8, 5), nn.Linear(8, 5)])
        self.log_tau = nn.Parameter(torch.tensor([math.log(0.2)]))  # DeepSpeed takes no scalars

    def forward(self, rows: Tensor, slots: Tensor) -> list[Tensor]:
        hidden = torch.tanh(self.body(rows))
        return [
            F.normalize(head(hidden), dim=-1) * torch.exp(-self.log_tau / 2) for head in self.heads
        ]


class Contrastive:
    def __call__(self, outputs: list[Tensor], batch: Batch) -> Tensor:
        return multitask_supcon(
            torch.stack(outputs),
            torch.stack(list(batch.labels.values())),
            temperature=1.0,
            sweep=batch.sweep,
            subject=batch.subject,
            valid=batch.valid,
        )

    def weight(self, batch: Batch) -> Tensor:
        return batch.valid.sum()


def network(dtype: torch.dtype) -> Heads:
    torch.manual_seed(0)
    return Heads().to(dtype)


def batch(rows: slice, dtype: torch.dtype) -> Batch:
    generator = torch.Generator().manual_seed(1)
    clips = torch.randn(ROWS, 6, generator=generator).to(dtype)[rows]
    labels = {name: torch.randint(-1, 3, (ROWS,), generator=generator)[rows] for name in "ab"}
    sweep, subject = (torch.randint(-1, 2, (ROWS,), generator=generator)[rows] for _ in range(2))
    index = torch.arange(ROWS)[rows]
    valid = (index != 3) & (index < ROWS - 2)
    return Batch(
        clips=clips,
        slots=valid[:, None],
        valid=valid,
        labels=labels,
        key=[str(i) for i in index.tolist()],
        study=index,
        exam=index,
        subject=subject,
        sweep=sweep,
        index=index,
        views=1,
        epoch=0,
        step=0,
    )


def expected(dtype: torch.dtype) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradients of one process, by autograd alone, of the plain form."""
    net, data = network(dtype), batch(slice(0, ROWS), dtype)
    outputs = torch.stack(net(data.clips, data.slots)) * torch.exp(net.log_tau / 2)
    loss = reference_multitask_supcon(
        outputs,
        torch.stack(list(data.labels.values())),
        temperature=net.log_tau.exp(),
        sweep=data.sweep,
        subject=data.subject,
        valid=data.valid,
    )
    loss.backward()
    return loss.item(), {name: parameter.grad for name, parameter in net.named_parameters()}


def _on_rank(rank: int, world: int) -> list[tuple[str, torch.dtype, float, dict[str, Tensor]]]:
    tiled.TILE_ROWS["cpu"] = 3
    out = []
    for counts in CUTS[world]:
        start = sum(counts[:rank])
        mine = slice(start, start + counts[rank])
        for name, stage, dtype in ENGINES:
            for cached in (None, CachedStep(CACHE_ROWS, math.ceil(max(counts) / CACHE_ROWS))):
                engine = make_engine(
                    network(dtype),
                    EngineConfig(name=name, zero_stage=stage),
                    OptimConfig(learning_rate=1e-3),
                    Processes(rank, world, "cpu"),
                )
                loss = train_step(
                    engine, batch(mine, dtype), Contrastive(), seed=0, rank=rank, cached=cached
                ).loss
                gradients = {
                    key: value["exp_avg"] / (1 - BETA1) for key, value in engine.moments().items()
                }
                out.append(
                    (f"{counts} {name} {stage} cached={cached is not None}", dtype, loss, gradients)
                )
                engine.close()
    return out


@pytest.mark.parametrize("world", list(CUTS))
def test_loss_and_gradients_equal_one_process(world):
    wanted = {dtype: expected(dtype) for dtype in TOLERANCE}
    assert all(gradient.norm() > 1e-3 for gradient in wanted[torch.float64][1].values())
    for results in run_ranks(world, _on_rank):
        assert len(results) == len(CUTS[world]) * len(ENGINES) * 2
        for what, dtype, loss, gradients in results:
            want_loss, want = wanted[dtype]
            assert abs(loss - want_loss) <= TOLERANCE[dtype] * abs(want_loss), what
            assert gradients.keys() == want.keys(), what
            for name, gradient in gradients.items():
                error = (gradient - want[name]).norm()
                assert error <= TOLERANCE[dtype] * want[name].norm(), (what, name)
