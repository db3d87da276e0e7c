"""Balanced order: equally many items of every class in a batch, none of them neglected."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsou_dist.common.errors import InputError
from bsou_dist.feed.order.balanced import Balanced

SIXTH = np.arange(60) % 6
LABEL = np.where(SIXTH == 0, -1, (SIXTH == 5).astype(int))
"""40 items of class 0, 10 of class 1, 10 without a label."""


@given(
    counts=st.lists(st.integers(4, 30), min_size=1, max_size=4),
    missing=st.integers(0, 20),
    batch=st.integers(1, 12),
)
def test_batches_hold_equally_many_of_each_class(
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
            per_class = np.bincount(label[items], minlength=len(counts))
            assert per_class.max() - per_class.min() <= 1


def test_all_items_of_a_class_are_used_about_equally_often() -> None:
    order = Balanced(LABEL, 9, 1)  # five of a class, four of the other, in turn
    drawn = np.concatenate([order.epoch(epoch).ravel() for epoch in range(60)])
    used = np.bincount(drawn, minlength=60)
    assert (used[LABEL == -1] == 0).all()
    for label in (0, 1):
        of_class = used[label == LABEL]
        assert of_class.min() > 0.8 * of_class.mean()
        assert of_class.max() < 1.2 * of_class.mean()
    first, second, *_ = order.epoch(0)
    assert sorted([int((LABEL[first] == 0).sum()), int((LABEL[second] == 0).sum())]) == [4, 5]
    # Ranks take slices of a batch.
    halves = [LABEL[items[:4]].mean() for items in drawn.reshape(-1, 9)]
    assert 0.4 < np.mean(halves) < 0.6, "classes are mixed within a batch"


def test_classes_that_cannot_fill_a_batch_are_refused() -> None:
    few = r"over 2 classes holds 16 of each, and the rarest has 10 .*at most 20"
    with pytest.raises(InputError, match=few):
        Balanced(LABEL, 32, 0)
    with pytest.raises(InputError, match="balanced over 0 classes"):
        Balanced(np.full(9, -1), 2, 0)
