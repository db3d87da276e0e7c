"""Batches of several sources."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsou_dist.common.errors import InputError
from bsou_dist.feed.order.mixed import Mixed

SIZES = (240, 60, 30)
WEIGHTS = {"large": 2.0, "middle": 1.5, "small": 0.5}
BATCH = 16


def order(seed: int = 0) -> Mixed:
    mixing = np.random.default_rng(1).permutation(sum(SIZES))
    source = np.repeat(np.arange(3), SIZES)[mixing]
    return Mixed(source, WEIGHTS, BATCH, seed)


def test_every_batch_holds_each_sources_share():
    mixed = order()
    for epoch in range(4):
        batches = mixed.epoch(epoch)
        assert batches.shape == (mixed.steps(), BATCH) == (20, BATCH)
        for number, share in enumerate((8, 6, 2)):
            counts = (mixed.source[batches] == number).sum(axis=1)
            assert np.abs(counts - share).max() <= 1
            assert abs(counts.sum() - share * 20) <= 1


def test_every_sources_items_come_equally_often_and_never_twice_in_a_batch():
    mixed = order()
    batches = np.concatenate([mixed.epoch(epoch) for epoch in range(12)])
    assert all(len(set(batch)) == BATCH for batch in batches.tolist())
    counts = np.bincount(batches.ravel(), minlength=len(mixed.source))
    for number in range(3):
        of_source = counts[mixed.source == number]
        assert of_source.max() - of_source.min() <= 1
    assert counts[mixed.source == 1].min() >= 12  # oversampled


def test_it_is_a_function_of_seed_and_epoch():
    assert np.array_equal(order().epoch(3), order().epoch(3))
    assert not np.array_equal(order().epoch(3), order().epoch(4))
    assert not np.array_equal(order().epoch(3), order(seed=1).epoch(3))


def test_a_small_sources_items_come_about_equally_often():
    mixed = Mixed(np.repeat([0, 1], [50, 10]), {"a": 1.0, "b": 1.0}, 12, 0)
    batches = np.concatenate([mixed.epoch(epoch) for epoch in range(100)])
    assert all(len(set(batch)) == 12 for batch in batches.tolist())
    counts = np.bincount(batches.ravel(), minlength=60)
    assert counts[:50].max() - counts[:50].min() <= 1
    assert np.abs(counts[50:] - 300).max() < 60


def test_a_small_source_is_gone_through_before_it_begins_anew():
    mixed = Mixed(np.repeat([0, 1], [50, 13]), {"a": 1.0, "b": 1.0}, 12, 0)
    first, second = (set(batch[batch >= 50]) for batch in mixed.epoch(0)[:2])
    assert len(first) == len(second) == 6
    assert not first & second


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(5, 70), min_size=2, max_size=4),
    weights=st.lists(st.floats(0.05, 5), min_size=4, max_size=4),
    batch=st.integers(1, 14),
)
def test_any_shares_are_kept_without_repeats(sizes, weights, batch):
    source = np.repeat(np.arange(len(sizes)), sizes)
    named = {str(number): weights[number] for number in range(len(sizes))}
    try:
        mixed = Mixed(source, named, batch, 0)
    except InputError:
        return
    shares = np.array(list(named.values())) / sum(named.values())
    for epoch in range(6):
        batches = mixed.epoch(epoch)
        assert all(len(set(row)) == batch for row in batches.tolist())
        for number, share in enumerate(shares):
            counts = (source[batches] == number).sum(axis=1)
            assert np.abs(counts - share * batch).max() < 2


def test_a_source_too_small_for_its_share_is_refused_by_name():
    with pytest.raises(InputError, match=r"data\.sources\.b has 5 items .* 75%, 6 items: lower"):
        Mixed(np.repeat([0, 1], [50, 5]), {"a": 1.0, "b": 3.0}, 8, 0)
