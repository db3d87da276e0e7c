from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from fan_clips import fan_clips, read_table

from bsou_dist.packing.pack import PackConfig, pack
from bsou_dist.phantom.files.cohort_files import write_phantom
from bsou_dist.prepare.prepare_clip import PrepareConfig

CONFIG = PackConfig(prepare=PrepareConfig(size_px=48, field_mm=120.0, max_frames=6), shard_clips=4)


@pytest.fixture(scope="session")
def config() -> PackConfig:
    return CONFIG


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, Path]:
    """Ten DICOM clips of two patients, with print in the pictures; the table and its folder. Not to
    be changed.
    """
    root = tmp_path_factory.mktemp("cohort")
    return read_table(write_phantom(fan_clips(10), root, print_text=True)), root


@pytest.fixture(scope="session")
def packed(
    cohort: tuple[pd.DataFrame, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """The cohort packed: shard folder and private folder. Not to be changed."""
    out = tmp_path_factory.mktemp("packed") / "shards"
    private = out.with_name("private")
    pack(*cohort, out, config=CONFIG, private=private, workers=0, progress=False)
    return out, private
