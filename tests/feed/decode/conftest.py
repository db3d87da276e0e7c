"""Shards, and requests of frames out of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bsou_dist.feed.decode.protocol import Request
from bsou_dist.shards.reader import ShardReader


@pytest.fixture(scope="module")
def shards(make_shards, tmp_path_factory) -> tuple[Path, pd.DataFrame]:
    """Two shards of JPEG clips."""
    return make_shards(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module")
def requests(shards) -> list[Request]:
    """One to three frames of every clip."""
    folder, manifest = shards
    reader = ShardReader(folder, manifest)
    found = []
    for row in range(len(manifest)):
        record, data = reader.read(row)
        found.append((data, record, np.array([0, 3, 9])[: 1 + row % 3]))
    return found
