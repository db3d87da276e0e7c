"""One step: what stops it, what it depends on; validation; batch-norm statistics."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from gloo import run_ranks
from torch import Tensor, nn

from bsou_dist.engine.buffers import average_buffers
from bsou_dist.engine.caching import CachedStep
from bsou_dist.engine.make import EngineConfig, make_engine
from bsou_dist.engine.not_finite import NotFinite
from bsou_dist.engine.optim.config import OptimConfig
from bsou_dist.engine.processes import Processes, start_processes
from bsou_dist.engine.step import StepOutcome, train_step, validate
from bsou_dist.feed.batch import Batch
from bsou_dist.objective.collective import global_sum


@pytest.fixture
def alone() -> Iterator[Processes]:
    with start_processes() as processes:
        yield processes


def batch(rows: Tensor, step: int = 0, valid: Tensor | None = None) -> Batch:
    index = torch.arange(len(rows))
    return Batch(
        clips=rows,
        slots=torch.ones(len(rows), 1, dtype=torch.bool),
        valid=torch.ones(len(rows), dtype=torch.bool) if valid is None else valid,
        labels={},
        key=[f"clip{i}" for i in index.tolist()],
        study=index,
        exam=index,
        subject=index,
        sweep=index,
        index=index,
        views=1,
        epoch=0,
        step=step,
    )


class Batches:
    """A feed of ready batches."""

    dataset = None
    global_batch = 4

    def __init__(self, *batches: Batch) -> None:
        self.batches = batches

    def steps(self) -> int:
        return len(self.batches)

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        return iter(self.batches[start_step:])


class MeanSquare:
    """An objective without labels."""

    def __call__(self, outputs: Tensor, batch: Batch) -> Tensor:
        return outputs[batch.valid].square().mean()

    def weight(self, batch: Batch) -> Tensor:
        return batch.valid.sum()


class OnRows(nn.Module):
    """A network that takes a batch's rows and slots."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, rows: Tensor, slots: Tensor) -> Tensor:
        return self.layers(rows)


def engine(processes: Processes, *layers: nn.Module):
    return make_engine(
        OnRows(*layers), EngineConfig(name="ddp"), OptimConfig(learning_rate=0.1), processes
    )


def test_a_loss_that_is_not_finite_stops_before_the_update_and_names_the_clips(alone):
    torch.manual_seed(0)
    net = engine(alone, nn.Linear(2, 1))
    before = [value.clone() for value in net.network.state_dict().values()]
    rows = torch.tensor([[1.0, 2.0], [torch.nan, 0.0]])
    with pytest.raises(NotFinite, match=r"nan .* at epoch 0, step 3; .* rank 0: clip0, clip1"):
        train_step(net, batch(rows, step=3), MeanSquare(), seed=0, rank=0)
    for old, new in zip(before, net.network.state_dict().values(), strict=True):
        assert torch.equal(old, new)


class WithOneHead(OnRows):
    """A network as stage 1 has it, with a list of outputs."""

    def forward(self, rows: Tensor, slots: Tensor) -> list[Tensor]:
        return [self.layers(rows)]


class Distance:
    """An objective whose gradient is NaN where a row is not valid, though the loss is finite."""

    def __call__(self, outputs: list[Tensor], batch: Batch) -> Tensor:
        rows = outputs[0] * batch.valid[:, None]
        return global_sum(rows.square().sum(dim=1).sqrt().sum())


def _bad_gradient(
    rank: int, world: int, way: CachedStep | None
) -> tuple[str, bool, StepOutcome, bool]:
    """What is said of a batch whose gradient is NaN on the last rank alone; whether weights and
    statistics are as before; a good step after it, and whether that moved the weights.
    """
    torch.manual_seed(0)
    net = make_engine(
        WithOneHead(nn.BatchNorm1d(2), nn.Linear(2, 1)),
        EngineConfig(name="ddp"),
        OptimConfig(learning_rate=0.1),
        Processes(rank, world, "cpu"),
    )
    rows = torch.randn(4, 2, generator=torch.Generator().manual_seed(rank))
    good, bad = batch(rows), batch(10 * rows, valid=torch.full((4,), rank < world - 1))
    train_step(net, good, Distance(), seed=0, rank=rank, cached=way)
    before = {name: value.clone() for name, value in net.network.state_dict().items()}
    with pytest.raises(NotFinite) as caught:
        train_step(net, bad, Distance(), seed=0, rank=rank, cached=way, keep_buffers=True)
    kept = all(torch.equal(before[name], now) for name, now in net.network.state_dict().items())
    outcome = train_step(net, good, Distance(), seed=0, rank=rank, cached=way)
    moved = not torch.equal(before["layers.1.weight"], net.network.layers[1].weight)
    return str(caught.value), kept, outcome, moved


@pytest.mark.parametrize("way", [None, CachedStep(rows=2, chunks=2)], ids=["whole", "cached"])
def test_a_gradient_that_is_not_finite_moves_nothing_on_any_rank(way):
    for said, kept, outcome, moved in run_ranks(2, _bad_gradient, way):
        assert "the norm of its gradient nan" in said
        assert "the loss is nan" not in said
        assert said.endswith(
            "rank 0: clip0, clip1, clip2, clip3; rank 1: clip0, clip1, clip2, clip3"
        )
        assert kept
        assert all(map(math.isfinite, outcome))
        assert moved


def test_dropout_depends_on_seed_epoch_step_and_rank_alone(alone):
    rows = torch.ones(4, 64)

    def loss(step: int, rank: int, seed: int = 0) -> float:
        torch.manual_seed(0)
        net = engine(alone, nn.Linear(64, 64), nn.Dropout(0.5))
        torch.rand(step + 1)  # whatever was drawn before must not matter
        return train_step(net, batch(rows, step), MeanSquare(), seed=seed, rank=rank).loss

    assert loss(2, 0) == loss(2, 0)
    assert len({loss(1, 0), loss(2, 0), loss(2, 1), loss(2, 0, seed=1)}) == 4


def test_validation_weighs_batches_by_their_valid_rows_and_changes_nothing(alone):
    net = engine(alone, nn.BatchNorm1d(1, affine=False), nn.Dropout(0.9), nn.Linear(1, 1))
    norm, _, linear = net.network.layers
    with torch.no_grad():
        linear.weight.fill_(1.0)
        linear.bias.zero_()
    full = batch(torch.full((4, 1), 1.0))
    ragged = batch(torch.full((4, 1), 3.0), valid=torch.tensor([True, False, False, False]))
    loss = validate(net, Batches(full, ragged), MeanSquare(), alone, "test")
    # In eval mode there is no dropout, and the running statistics are 0 and 1.
    assert loss == pytest.approx((4 * 1 + 1 * 9) / 5, rel=1e-4)
    assert norm.num_batches_tracked == 0
    with pytest.raises(NotFinite, match="validation loss is nan"):
        validate(net, Batches(batch(torch.full((4, 1), torch.nan))), MeanSquare(), alone, "test")


def _buffers(rank: int, world: int) -> tuple[np.ndarray, int]:
    net = nn.BatchNorm1d(2)
    net(torch.full((3, 2), float(rank)) + torch.arange(3)[:, None])
    average_buffers(net)
    return net.running_mean.numpy(), int(net.num_batches_tracked)


def test_batch_norm_statistics_become_the_mean_over_ranks():
    (first, count), (second, _) = run_ranks(2, _buffers)
    np.testing.assert_allclose(first, 0.1 * (1.0 + 2.0) / 2)
    np.testing.assert_array_equal(first, second)
    assert count == 1
