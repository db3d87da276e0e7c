"""The order is a pure function of (seed, epoch, items), and ranks share it without overlap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsou_dist.common.errors import InputError
from bsou_dist.feed.order.balanced import Balanced
from bsou_dist.feed.order.grouped import Grouped
from bsou_dist.feed.order.in_turn import InTurn
from bsou_dist.feed.order.protocol import PADDING, Order, rank_slice
from bsou_dist.feed.order.shuffled import Shuffled
from bsou_dist.feed.order.windowed import Windowed

SHARD = np.repeat(np.arange(10), [7, 3, 9, 5, 8, 6, 2, 9, 4, 7])  # 60 items
STUDY = np.arange(60) // 5
LABEL = np.where(
    np.arange(60) % 6 == 0, -1, (np.arange(60) % 6 > 4).astype(int)
)  # 40 of class 0, 10 of 1, 10 without


def orders(seed: int = 3) -> list[Order]:
    return [
        Shuffled(60, 8, seed),
        Windowed(SHARD, 8, seed, 3),
        Balanced(LABEL, 8, seed),
        Grouped(STUDY, 8, seed, 2),
    ]


def test_shuffled_is_a_fixed_permutation() -> None:
    assert Shuffled(8, 4, 3).epoch(1).tolist() == [
        [0, 2, 7, 6],
        [5, 1, 3, 4],
    ]  # a resumed run needs this one
    assert sorted(Shuffled(1000, 10, 3).epoch(1).ravel()) == list(range(1000))


def test_shuffled_mixes_every_position() -> None:
    first = np.array([Shuffled(10, 1, seed).epoch(0)[0, 0] for seed in range(2000)])
    share = np.bincount(first, minlength=10) / 2000
    assert np.abs(share - 0.1).max() < 0.03  # 4.5 standard errors


@pytest.mark.parametrize("kind", range(4))
def test_each_order_is_a_function_of_seed_and_epoch(kind: int) -> None:
    order, again, other = orders()[kind], orders()[kind], orders(seed=4)[kind]
    np.testing.assert_array_equal(order.epoch(2), again.epoch(2))
    assert order.epoch(2).shape == (order.steps(), 8)
    assert (order.epoch(2) == order.epoch(3)).mean() < 0.2
    assert (order.epoch(2) == other.epoch(2)).mean() < 0.2


@given(n=st.integers(1, 60), batch=st.integers(1, 20))
def test_training_drops_the_tail_and_evaluation_pads_it(n: int, batch: int) -> None:
    trained = Shuffled(n, batch, 5).epoch(0)
    assert trained.shape == (n // batch, batch)
    assert len(set(trained.ravel())) == trained.size
    seen = InTurn(n, batch).epoch(7).ravel()
    assert len(seen) % batch == 0
    assert len(seen) - n < batch
    assert seen[:n].tolist() == list(range(n))
    assert (seen[n:] == PADDING).all()


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    window=st.integers(1, 5),
    epoch=st.integers(0, 3),
)
def test_windows_read_each_shard_once_and_in_sequence(
    sizes: list[int], window: int, epoch: int
) -> None:
    shard = np.repeat(np.arange(len(sizes)), sizes)
    order = Windowed(shard, 1, 3, window)
    windows, items = order.windows(epoch), order.epoch(epoch).ravel()
    assert sorted(items) == list(range(len(shard)))
    assert sorted(number for _, shards in windows for number in shards) == list(range(len(sizes)))
    starts = [start for start, _ in windows] + [len(shard)]
    for (start, shards), end in zip(windows, starts[1:], strict=True):
        assert len(shards) <= window
        assert set(shard[items[start:end]]) == set(shards)


def test_windows_mix_their_shards_and_change_with_the_epoch() -> None:
    order = Windowed(np.repeat(np.arange(8), 100), 10, 0, 4)
    within = order.epoch(0)[:40].ravel()  # the first window
    assert (
        np.abs(
            np.bincount(order.shard[within[:200]], minlength=8)[order.windows(0)[0][1]] - 50
        ).max()
        < 25
    )
    assert {tuple(order.windows(epoch)[0][1]) for epoch in range(4)} != {
        tuple(order.windows(0)[0][1])
    }


@given(
    counts=st.lists(st.integers(4, 30), min_size=1, max_size=4),
    missing=st.integers(0, 20),
    batch=st.integers(1, 12),
)
def test_balanced_batches_hold_equally_many_of_each_class(
    counts: list[int], missing: int, batch: int
) -> None:
    label = np.repeat(np.arange(-1, len(counts)), [missing, *counts])
    if min(counts) * len(counts) < batch:
        return
    try:
        order = Balanced(label, batch, 1)
    except InputError:
        assert min(counts) < -(-batch // len(counts))
        return
    for epoch in range(2):
        for items in order.epoch(epoch):
            assert len(set(items)) == batch, "no clip twice"
            held = np.bincount(label[items], minlength=len(counts))
            assert held.max() - held.min() <= 1


def test_balanced_uses_all_items_of_a_class_about_equally_often() -> None:
    order = Balanced(LABEL, 9, 1)  # five of a class, four of the other, in turn
    drawn = np.concatenate([order.epoch(epoch).ravel() for epoch in range(60)])
    used = np.bincount(drawn, minlength=60)
    assert (used[LABEL == -1] == 0).all()
    for label in (0, 1):
        of_class = used[label == LABEL]
        assert of_class.min() > 0.8 * of_class.mean()
        assert of_class.max() < 1.2 * of_class.mean()
    first, second = order.epoch(0)[0], order.epoch(0)[1]
    assert sorted([int((LABEL[first] == 0).sum()), int((LABEL[second] == 0).sum())]) == [4, 5]
    halves = [LABEL[items[:4]].mean() for items in drawn.reshape(-1, 9)]
    assert 0.4 < np.mean(halves) < 0.6, (
        "classes are mixed within a batch, of which ranks take slices"
    )


def test_grouped_batches_hold_clips_of_a_study_together() -> None:
    study = np.repeat([3, 0, -1, 1, 2], [5, 1, 4, 8, 7])
    order = Grouped(study, 6, 0, 3)
    assert order.steps() == 2  # 1 + 0 + 2 + 2 groups of three
    seen = np.zeros(len(study), dtype=int)
    for epoch in range(40):
        items = order.epoch(epoch)
        assert len(set(items.ravel())) == items.size
        groups = study[items.reshape(-1, 3)]
        assert (groups == groups[:, :1]).all()
        assert len({tuple(group) for group in groups[:2]}) >= 1
        seen[items] += 1
    assert (seen[study == -1] == 0).all()
    assert (seen[study == 0] == 0).all(), "no group of three"
    assert (seen[np.isin(study, [1, 2, 3])] > 0).all(), "what one epoch leaves out, another has"


def test_orders_that_items_cannot_fill_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"over 2 classes holds 16 of each, and the rarest has 10 .*at most 20"
    ):
        Balanced(LABEL, 32, 0)
    with pytest.raises(InputError, match="balanced over 0 classes"):
        Balanced(np.full(9, -1), 2, 0)
    with pytest.raises(InputError, match="multiple of 3"):
        Grouped(STUDY, 8, 0, 3)
    with pytest.raises(InputError, match=r"make 12 groups of 4; lower global_batch to at most 48"):
        Grouped(STUDY, 64, 0, 4)


@given(count=st.integers(1, 50), world=st.integers(1, 50))
def test_ranks_share_a_batch(count: int, world: int) -> None:
    if count < world:
        with pytest.raises(InputError, match=f"global_batch to at least {world}"):
            rank_slice(count, 0, world)
        return
    shares = [list(range(count))[rank_slice(count, rank, world)] for rank in range(world)]
    assert [row for share in shares for row in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
