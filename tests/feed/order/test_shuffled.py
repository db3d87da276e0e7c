"""Shuffled order: a permutation that is drawn anew each epoch; its tail is dropped."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bsou_dist.feed.order.shuffled import Shuffled


def test_it_is_a_fixed_permutation() -> None:
    # A resumed run needs this one.
    assert Shuffled(8, 4, 3).epoch(1).tolist() == [[0, 2, 7, 6], [5, 1, 3, 4]]
    assert sorted(Shuffled(1000, 10, 3).epoch(1).ravel()) == list(range(1000))


def test_it_mixes_every_position() -> None:
    first = np.array([Shuffled(10, 1, seed).epoch(0)[0, 0] for seed in range(2000)])
    share = np.bincount(first, minlength=10) / 2000
    assert np.abs(share - 0.1).max() < 0.03  # 4.5 standard errors


@given(n=st.integers(1, 60), batch=st.integers(1, 20))
def test_the_tail_is_dropped(n: int, batch: int) -> None:
    trained = Shuffled(n, batch, 5).epoch(0)
    assert trained.shape == (n // batch, batch)
    assert len(set(trained.ravel())) == trained.size
