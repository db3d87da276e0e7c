"""The packed cohort that the tests of this room look at."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from packed_cohort import cohort, config, packed

__all__ = ["cohort", "config", "packed"]


@pytest.fixture
def folders(packed: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """A copy of shard and private folder, to be spoilt."""
    shutil.copytree(packed[0], tmp_path / "shards")
    shutil.copytree(packed[1], tmp_path / "shards.private")
    return tmp_path / "shards", tmp_path / "shards.private"
