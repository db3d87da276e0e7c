"""Gradient caching: equal to the step on all rows at once through every engine, batch norm too."""

from __future__ import annotations

import pytest
import torch
from gloo import run_ranks
from torch import Tensor, nn

from bsou_dist.engine.caching import CachedStep
from bsou_dist.engine.make import EngineConfig, make_engine
from bsou_dist.engine.optim.config import OptimConfig
from bsou_dist.engine.processes import Processes
from bsou_dist.engine.step import train_step
from bsou_dist.feed.batch import Batch
from bsou_dist.model.encoder import EncoderConfig, build_encoder
from bsou_dist.model.network import PretrainNetwork, projection_heads
from bsou_dist.model.norm import with_norm
from bsou_dist.objective.batch_objectives import MultitaskContrastive, MultitaskCrossEntropy

ENGINES = [("ddp", 0), ("deepspeed", 0), ("deepspeed", 1), ("deepspeed", 2), ("deepspeed", 3)]
OBJECTIVE = MultitaskContrastive(["a", "b"], temperature=0.1)
ROWS, STEPS = 7, 2


class WithDropout(PretrainNetwork):
    """Heads behind dropout, which both passes must draw alike."""

    def forward(self, clips: Tensor, slots: Tensor) -> list[Tensor]:
        return [
            nn.functional.dropout(out, 0.3, self.training) for out in super().forward(clips, slots)
        ]


def network(norm: str = "group") -> PretrainNetwork:
    torch.manual_seed(0)
    encoder = build_encoder(
        EncoderConfig(name="r3d_small", weights="none", norm=norm), frames=4, size_px=16
    )
    return PretrainNetwork(encoder, projection_heads(["a", "b"], encoder.dim))


def frozen() -> PretrainNetwork:
    """Batch norm with statistics of its own, frozen."""
    net = network("batch").train()
    with torch.no_grad():
        net(torch.randn(8, 1, 4, 16, 16), torch.ones(8, 1, dtype=torch.bool))
    with_norm(net, "frozen_batch")
    return net


def batch(rows: slice, step: int) -> Batch:
    generator = torch.Generator().manual_seed(step)
    clips = torch.randn(ROWS, 1, 4, 16, 16, generator=generator)[rows]
    labels = {name: torch.randint(-1, 2, (ROWS,), generator=generator)[rows] for name in "ab"}
    index = torch.arange(ROWS)[rows]
    decoded = index != 2  # one row could not be
    return Batch(
        clips=clips,
        slots=decoded[:, None],
        valid=decoded,
        labels=labels,
        key=[str(i) for i in index.tolist()],
        study=index,
        exam=index,
        subject=index,
        sweep=index,
        index=index,
        views=1,
        epoch=0,
        step=step,
    )


def train(
    rank: int,
    world: int,
    engine: tuple[str, int],
    rows: slice,
    cached: CachedStep | None,
    net: PretrainNetwork | None = None,
    objective=OBJECTIVE,
) -> tuple[list[float], dict[str, Tensor]]:
    made = make_engine(
        net or network(),
        EngineConfig(name=engine[0], zero_stage=engine[1]),
        OptimConfig(learning_rate=1e-4),
        Processes(rank, world, "cpu"),
    )
    losses = [
        train_step(made, batch(rows, step), objective, seed=0, rank=rank, cached=cached).loss
        for step in range(STEPS)
    ]
    weights = made.weights()
    made.close()
    return losses, weights


def _on_rank(rank: int, world: int) -> dict:
    rows = (slice(0, 5), slice(5, ROWS))[rank] if world == 2 else slice(0, ROWS)
    out = {}
    for engine in ENGINES:
        out[engine, "initial"] = network().state_dict()
        out[engine, "whole"] = train(rank, world, engine, rows, None)
        out[engine, "cached"] = train(
            rank, world, engine, rows, CachedStep(rows=2, chunks=3 if world == 2 else 4)
        )
    if world == 1:
        ddp = ENGINES[0]
        one_chunk = CachedStep(rows=ROWS, chunks=1)
        heads = network().heads
        for name, net, cached in (
            ("dropout", WithDropout(network().encoder, dict(heads)), one_chunk),
            ("batch norm", network("batch"), one_chunk),
            ("frozen batch norm", frozen(), CachedStep(rows=2, chunks=4)),
        ):
            state = {key: value.clone() for key, value in net.state_dict().items()}
            out[name, "initial"] = state
            out[name, "whole"] = train(0, 1, ddp, rows, None, net)
            net.load_state_dict(state)
            out[name, "cached"] = train(0, 1, ddp, rows, cached, net)
        cross_entropy = MultitaskCrossEntropy(["a", "b"])
        linear = PretrainNetwork(
            network().encoder, {"a": nn.Linear(128, 2), "b": nn.Linear(128, 2)}
        )
        state = {key: value.clone() for key, value in linear.state_dict().items()}
        out["mtce", "initial"] = state
        out["mtce", "whole"] = train(0, 1, ddp, rows, None, linear, cross_entropy)
        linear.load_state_dict(state)
        out["mtce", "cached"] = train(0, 1, ddp, rows, CachedStep(2, 4), linear, cross_entropy)
    return out


@pytest.mark.parametrize("world", [1, 2])
def test_equal_to_the_step_on_all_rows(world):
    expected = None
    for result in run_ranks(world, _on_rank):
        expected = expected or result[ENGINES[0], "whole"]
        for what in dict.fromkeys(what for what, _ in result):
            whole, cached = result[what, "whole"], result[what, "cached"]
            torch.testing.assert_close(cached[0], whole[0], rtol=1e-5, atol=1e-5)
            initial = result[what, "initial"]
            for name, value in whole[1].items():
                if value.is_floating_point():
                    # By norm: under Adam a gradient of nearly 0 moves a weight by the sign of its
                    # rounding.
                    moved = (value - initial[name]).norm()
                    assert (cached[1][name] - value).norm() <= 0.01 * moved + 1e-6, (what, name)
        for engine in ENGINES:
            torch.testing.assert_close(
                result[engine, "cached"][0], expected[0], rtol=1e-5, atol=1e-5
            )
