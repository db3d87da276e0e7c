"""How bright a clip is, where and when, and how long and large it is: all but what it shows.

A model of these alone is what a network has to beat (`evaluation/`): where it does well, labels can
be read off gain, exposure or file size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

FRAMES = 8
"""Frames looked at, evenly over the sweep."""
BANDS = 6
"""Of depth, and of breadth."""
QUANTILES = (5, 25, 50, 75, 95, 99)

FEATURES = [
    *(f"time_{part}" for part in range(FRAMES)),
    *(f"depth_{band}" for band in range(BANDS)),
    *(f"breadth_{band}" for band in range(BANDS)),
    *(f"time_{half}_depth_{third}" for half in range(4) for third in range(3)),
    "mean",
    "deviation",
    *(f"quantile_{percent}" for percent in QUANTILES),
    "share_dark",
    "share_bright",
    "log_frames",
    "log_bytes_per_frame",
    "mm_per_px",
]
"""Names of the features of a clip, in their order."""


def frames_to_look_at(count: int) -> NDArray[np.int64]:
    """Numbers of `FRAMES` frames, the middles of as many equal parts of a clip of `count`."""
    return ((np.arange(FRAMES) + 0.5) * count / FRAMES).astype(np.int64)


def clip_features(frames: NDArray[np.uint8], record: Mapping[str, Any]) -> NDArray[np.float64]:
    """The features of a clip, (len(FEATURES),).

    Args:
        frames: (FRAMES, H, W), grey.
        record: the clip's manifest row: `frames`, `size` in bytes, `mm_per_px`.
    """
    grey = frames.astype(np.float64) / 255.0
    of_time = grey.mean(axis=(1, 2))
    rows = grey.mean(axis=2)  # (FRAMES, H)
    depth = [part.mean() for part in np.array_split(rows.mean(axis=0), BANDS)]
    breadth = [part.mean() for part in np.array_split(grey.mean(axis=(0, 1)), BANDS)]
    by_time_and_depth = [
        third.mean()
        for quarter in np.array_split(rows, 4, axis=0)
        for third in np.array_split(quarter.mean(axis=0), 3)
    ]
    inside = grey[grey > 0]  # outside the fan a prepared clip is black
    if not len(inside):
        inside = np.zeros(1)
    return np.array(
        [
            *of_time,
            *depth,
            *breadth,
            *by_time_and_depth,
            inside.mean(),
            inside.std(),
            *np.percentile(inside, QUANTILES),
            (inside < 0.1).mean(),
            (inside > 0.7).mean(),
            np.log(record["frames"]),
            np.log(record["size"] / record["frames"]),
            record["mm_per_px"],
        ]
    )
