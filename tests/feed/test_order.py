"""The order is a pure function, and ranks share it without overlap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsou_dist.errors import InputError
from bsou_dist.feed.order import PADDING, batch_at, epoch_order, evaluation_batch_at, rank_slice, steps_per_epoch


def test_epoch_order_is_a_fixed_permutation() -> None:
    assert epoch_order(8, seed=3, epoch=1).tolist() == [0, 2, 7, 6, 5, 1, 3, 4]  # a resumed run needs this one
    assert sorted(epoch_order(1000, 3, 1)) == list(range(1000))
    orders = [epoch_order(1000, seed, epoch) for seed, epoch in ((3, 1), (3, 2), (4, 1))]
    assert all((a == b).mean() < 0.01 for a, b in ((orders[0], orders[1]), (orders[0], orders[2])))


def test_order_mixes_every_position() -> None:
    first = np.array([epoch_order(10, seed, 0)[0] for seed in range(2000)])
    share = np.bincount(first, minlength=10) / 2000
    assert np.abs(share - 0.1).max() < 0.03  # 4.5 standard errors


@given(n=st.integers(1, 60), batch=st.integers(1, 20))
def test_training_drops_the_tail_and_evaluation_pads_it(n: int, batch: int) -> None:
    steps = steps_per_epoch(n, batch, drop_last=True)
    trained = np.concatenate([np.empty(0, int), *(batch_at(n, batch, 5, 0, step) for step in range(steps))])
    assert len(trained) == n // batch * batch
    assert len(set(trained)) == len(trained)
    seen = np.concatenate([evaluation_batch_at(n, batch, step) for step in range(steps_per_epoch(n, batch, False))])
    assert len(seen) % batch == 0
    assert len(seen) - n < batch
    assert seen[:n].tolist() == list(range(n))
    assert (seen[n:] == PADDING).all()


@given(count=st.integers(1, 50), world=st.integers(1, 50))
def test_ranks_share_a_batch(count: int, world: int) -> None:
    if count < world:
        with pytest.raises(InputError, match=f"global_batch to at least {world}"):
            rank_slice(count, 0, world)
        return
    shares = [list(range(count))[rank_slice(count, rank, world)] for rank in range(world)]
    assert [row for share in shares for row in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
