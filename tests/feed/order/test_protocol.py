"""All training orders: functions of (seed, epoch, items); ranks share a batch without overlap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsou_dist.common.errors import InputError
from bsou_dist.feed.order.balanced import Balanced
from bsou_dist.feed.order.grouped import Grouped
from bsou_dist.feed.order.protocol import PADDING, Order, even_batches, rank_slice
from bsou_dist.feed.order.shuffled import Shuffled
from bsou_dist.feed.order.windowed import Windowed

SHARD = np.repeat(np.arange(10), [7, 3, 9, 5, 8, 6, 2, 9, 4, 7])  # 60 items
STUDY = np.arange(60) // 5
LABEL = np.where(np.arange(60) % 6 == 0, -1, (np.arange(60) % 6 == 5).astype(int))


def orders(seed: int = 3) -> list[Order]:
    return [
        Shuffled(60, 8, seed),
        Windowed(SHARD, 8, seed, 3),
        Balanced(LABEL, 8, seed),
        Grouped(STUDY, 8, seed, 2),
    ]


@pytest.mark.parametrize("kind", range(4))
def test_each_order_is_a_function_of_seed_and_epoch(kind: int) -> None:
    order, again, other = orders()[kind], orders()[kind], orders(seed=4)[kind]
    np.testing.assert_array_equal(order.epoch(2), again.epoch(2))
    assert order.epoch(2).shape == (order.steps(), 8)
    assert (order.epoch(2) == order.epoch(3)).mean() < 0.2
    assert (order.epoch(2) == other.epoch(2)).mean() < 0.2


@given(n=st.integers(1, 60), batch=st.integers(1, 20), world=st.integers(1, 4))
def test_even_batches_hold_every_item_once_and_ranks_about_as_many(
    n: int, batch: int, world: int
) -> None:
    world = min(world, batch)
    batches = even_batches(np.arange(n), batch)
    assert batches.shape == (-(-n // batch), batch)
    assert batches[batches != PADDING].tolist() == list(range(n))
    assert np.ptp((batches != PADDING).sum(axis=1)) <= 1
    for row in batches:
        held = [(row[rank_slice(batch, rank, world)] != PADDING).sum() for rank in range(world)]
        assert np.ptp(held) <= 2


@pytest.mark.parametrize("made", [Shuffled(60, 8, 3, True), Windowed(SHARD, 8, 3, 3, True)])
def test_all_items_are_kept_where_asked_for(made: Order) -> None:
    trained = made.epoch(1)
    assert trained.shape == (made.steps(), 8) == (8, 8)
    assert sorted(trained[trained != PADDING]) == list(range(60))


@given(count=st.integers(1, 50), world=st.integers(1, 50))
def test_ranks_share_a_batch(count: int, world: int) -> None:
    if count < world:
        with pytest.raises(InputError, match=f"global_batch to at least {world}"):
            rank_slice(count, 0, world)
        return
    shares = [list(range(count))[rank_slice(count, rank, world)] for rank in range(world)]
    assert [row for share in shares for row in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
