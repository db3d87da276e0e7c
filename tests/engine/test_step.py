"""One step: what stops it, what it depends on; validation; batch-norm statistics."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from gloo import run_ranks
from torch import Tensor, nn

from bsou_dist.engine.buffers import average_buffers
from bsou_dist.engine.make import EngineConfig, make_engine
from bsou_dist.engine.optim.config import OptimConfig
from bsou_dist.engine.processes import Processes, start_processes
from bsou_dist.engine.step import NonFiniteLoss, train_step, validate
from bsou_dist.feed.batch import Batch


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
    with pytest.raises(NonFiniteLoss, match=r"nan at epoch 0, step 3; .* clip0, clip1"):
        train_step(net, batch(rows, step=3), MeanSquare(), seed=0, rank=0)
    for old, new in zip(before, net.network.state_dict().values(), strict=True):
        assert torch.equal(old, new)


def test_dropout_depends_on_seed_epoch_step_and_rank_alone(alone):
    rows = torch.ones(4, 64)

    def loss(step: int, rank: int, seed: int = 0) -> float:
        torch.manual_seed(0)
        net = engine(alone, nn.Linear(64, 64), nn.Dropout(0.5))
        torch.rand(step + 1)  # whatever was drawn before must not matter
        return train_step(net, batch(rows, step), MeanSquare(), seed=seed, rank=rank)

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
    with pytest.raises(NonFiniteLoss, match="validation loss is nan"):
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
