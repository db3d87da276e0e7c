"""A phantom cohort, packed: small enough for tests, with every set of patients in it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from bsou_dist.cli import main

PHANTOM = [
    "patients=44",
    "frames=8",
    "size_px=48",
    "balanced=true",
    "twin_fraction=0.2",
    "novice_fraction=0.15",
    "obese_fraction=0.15",
]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `cohort/cohort.csv`, `shards` and `shards.private`."""
    folder = tmp_path_factory.mktemp("corpus")
    assert main(["phantom", str(folder / "cohort"), "--format", "npz", *PHANTOM]) == 0
    assert (
        main(
            [
                "pack",
                str(folder / "cohort/cohort.csv"),
                str(folder / "shards"),
                "prepare.size_px=48",
                "shard_clips=64",
            ]
        )
        == 0
    )
    return folder


@pytest.fixture(scope="session")
def few_clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Table of 48 clips, to be packed."""
    folder = tmp_path_factory.mktemp("few") / "cohort"
    assert (
        main(["phantom", str(folder), "--format", "npz", "patients=8", "frames=6", "size_px=48"])
        == 0
    )
    return folder / "cohort.csv"


@pytest.fixture(scope="session")
def small_config(corpus: Path) -> Callable[..., Path]:
    """Writes a small run's config into a folder, with its output in `runs` there; keywords replace
    sections.
    """

    def write(folder: Path, **changes: Any) -> Path:
        config = {
            "name": "small",
            "output": str(folder / "runs"),
            "data": {
                "shards": str(corpus / "shards"),
                "cohort": str(corpus / "cohort/cohort.csv"),
                "phantom": True,
                "splits": {
                    "stage1": {"train": 10, "valid": 4},
                    "stage2": {"train": 6, "valid": 4, "test": 4},
                },
            },
            "feed": {"frames": 4, "size_px": 32, "decoder": "reference"},
            "encoder": {"name": "r3d_small", "weights": "none", "norm": "group"},
            "engine": {"name": "ddp"},
            "pretrain": {"global_batch": 12, "epochs": 2, "learning_rate": 1e-3},
            "finetune": {
                "tasks": ["ga", "placenta"],
                "encoder": "frozen",
                "epochs": 2,
                "global_batch": 8,
            },
            **changes,
        }
        path = folder / "config.yaml"
        path.write_text(
            yaml.safe_dump({key: value for key, value in config.items() if value is not None})
        )
        return path

    return write


@pytest.fixture
def write_config(small_config: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """`small_config` into `tmp_path`."""
    return partial(small_config, tmp_path)
