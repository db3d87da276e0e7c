from __future__ import annotations

import numpy as np
import pytest

from bsou_dist.prepare.doppler import coloured_share


@pytest.mark.parametrize(("channel", "share"), [(0, 100 / 4096), (2, 0.0)])
def test_red_counts_for_more_than_blue(channel: int, share: float) -> None:
    """The same step is farther from grey in red, so that channels cannot be mistaken."""
    frames = np.full((2, 64, 64, 3), 100, np.uint8)
    frames[1, :10, :10, channel] += 38
    assert coloured_share(frames, np.ones((64, 64), np.bool_)) == pytest.approx(share)
