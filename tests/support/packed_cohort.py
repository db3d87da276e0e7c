from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fan_clips import fan_clips, read_table

from bsou_dist.cohort.table import Cohort
from bsou_dist.packing.pack import PackConfig, Packer
from bsou_dist.packing.word_codes import WordConfig
from bsou_dist.phantom.files.cohort_files import write_phantom
from bsou_dist.prepare.prepare_clip import PrepareConfig

CONFIG = PackConfig(
    prepare=PrepareConfig(size_px=48, field_mm=120.0, max_frames=6),
    shard_clips=4,
    words=WordConfig(
        device={"acme one": "Acme One", "Bolt Mini": "Bolt Mini"}, site={"north": "N"}
    ),
)
KEY = "68" * 32
"""By which the patients of `fan_clips` come in the order of their table."""


def quiet_packer(out: Path, private: Path, config: PackConfig, **options: Any) -> Packer:
    """A packer that works in this process and shows no progress, unless told otherwise.

    Where there is no private folder yet, it gets one with `KEY`.
    """
    if not (private.exists() or out.exists() or out in private.parents):
        private.mkdir(mode=0o700, parents=True)
        (private / "pseudonym.key").touch(mode=0o600)
        (private / "pseudonym.key").write_text(KEY)
    quiet: dict[str, Any] = {"workers": 0, "progress": False}
    return Packer(out, private=private, config=config, **(quiet | options))


@pytest.fixture(scope="session")
def config() -> PackConfig:
    return CONFIG


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, Path]:
    """The table and folder of ten DICOM clips of two patients, with print in the pictures.

    Not to be changed.
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
    quiet_packer(out, private, CONFIG).run(Cohort(*cohort))
    return out, private
