"""Evaluation order: every item once and in turn, the last batch padded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bsou_dist.feed.order.in_turn import InTurn
from bsou_dist.feed.order.protocol import PADDING


@given(n=st.integers(1, 60), batch=st.integers(1, 20))
def test_the_tail_is_padded(n: int, batch: int) -> None:
    seen = InTurn(n, batch).epoch(7).ravel()
    assert len(seen) % batch == 0
    assert len(seen) - n < batch
    assert seen[:n].tolist() == list(range(n))
    assert (seen[n:] == PADDING).all()
