"""Windowed order: each shard is read once and in sequence, and mixed with those of its window."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bsou_dist.feed.order.windowed import Windowed


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
    shards_of_window = order.windows(0)[0][1]
    items_of_window = order.epoch(0)[:40].ravel()
    counts = np.bincount(order.shard[items_of_window[:200]], minlength=8)
    assert np.abs(counts[shards_of_window] - 50).max() < 25
    first_windows = {tuple(order.windows(epoch)[0][1]) for epoch in range(4)}
    assert len(first_windows) > 1
