"""Grouped order: clips of one study come together, and every study with enough of them comes."""

from __future__ import annotations

import numpy as np
import pytest

from bsou_dist.common.errors import InputError
from bsou_dist.feed.order.grouped import Grouped


def test_batches_hold_clips_of_a_study_together() -> None:
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


def test_studies_that_cannot_fill_a_batch_are_refused() -> None:
    study = np.arange(60) // 5
    with pytest.raises(InputError, match="multiple of 3"):
        Grouped(study, 8, 0, 3)
    with pytest.raises(InputError, match=r"make 12 groups of 4; lower global_batch to at most 48"):
        Grouped(study, 64, 0, 4)
