"""A phantom cohort, packed: small enough for tests, with every set of patients in it."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock

from bsou_dist.cli import main

# A shell that starts the tests in the background has all that they start ignore interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Several processes run tests side by side, and a computation on two threads waits for both.
os.environ.setdefault("OMP_NUM_THREADS", "1")

TESTS = Path(__file__).parent
LONGEST_FIRST = ("slurm", "end_to_end", "launch", "commands", "experiment", "packing")
"""Folders whose tests take long: begun last, one of them would keep a process alone at the end."""

PHANTOM = [
    "patients=44",
    "frames=8",
    "size_px=48",
    "balanced=true",
    "twin_fraction=0.2",
    "novice_fraction=0.15",
    "obese_fraction=0.15",
]


@pytest.fixture(scope="session", autouse=True)
def _no_test_keeps_freed_memory() -> Iterator[None]:
    """A run that a test starts in this process would have it keep all memory that it frees.

    The C library cannot be told to stop doing so, and every later test's peak would stay.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bsou_dist.engine.processes.keep_freed_memory", lambda: None)
        yield


@pytest.fixture(scope="module", autouse=True)
def _freed_memory_is_given_back() -> Iterator[None]:
    """After each file; left to itself, glibc holds gigabytes that the largest tests have freed."""
    yield
    gc.collect()
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest first."""

    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(TESTS).parts[0]
        return LONGEST_FIRST.index(folder) if folder in LONGEST_FIRST else len(LONGEST_FIRST)

    items.sort(key=place)


def _made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Make a folder in one of the processes that run tests, for all of them."""
    in_one_of_several = "PYTEST_XDIST_WORKER" in os.environ
    base = factory.getbasetemp().parent if in_one_of_several else factory.getbasetemp()
    folder = base / name
    made = base / f"{name}.made"
    with FileLock(base / f"{name}.lock"):
        if not made.exists():
            make(folder)
            made.touch()
    return folder


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `cohort/cohort.csv`, `shards` and `shards.private`. Not to be changed."""

    def make(folder: Path) -> None:
        folder.mkdir()
        cohort, shards = folder / "cohort", folder / "shards"
        assert main(["phantom", str(cohort), "--format", "npz", *PHANTOM]) == 0
        sizes = ["prepare.size_px=48", "shard_clips=64"]
        assert main(["pack", str(cohort / "cohort.csv"), str(shards), *sizes]) == 0

    return _made_once(tmp_path_factory, "corpus", make)


@pytest.fixture(scope="session")
def few_clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Table of 48 clips, to be packed. Not to be changed."""
    few = ["patients=8", "frames=6", "size_px=48"]

    def make(folder: Path) -> None:
        assert main(["phantom", str(folder), "--format", "npz", *few]) == 0

    return _made_once(tmp_path_factory, "few_clips", make) / "cohort.csv"


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
            "pretrain": {"global_batch": 12, "epochs": 2, "optim": {"learning_rate": 1e-3}},
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
