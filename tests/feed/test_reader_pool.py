"""Reading ahead: side by side, the same batches for any number of readers, storage that fails."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch

from bsou_dist.feed import reader_pool
from bsou_dist.feed.augment import AugmentConfig
from bsou_dist.feed.dataset import ClipSet, ExamSet
from bsou_dist.feed.loader import Loader
from bsou_dist.feed.pixels import FeedConfig, Pixels
from bsou_dist.feed.quarantine import Quarantine
from bsou_dist.feed.reader_pool import ReaderPool
from bsou_dist.shards import patience
from bsou_dist.shards.patience import Unreadable

READERS = 8


@pytest.fixture(scope="module")
def shards(make_shards, tmp_path_factory) -> tuple[Path, pd.DataFrame]:
    return make_shards(tmp_path_factory.mktemp("shards"), clips=28)


def make_loader(
    shards: tuple[Path, pd.DataFrame],
    folder: Path,
    *,
    exams: bool = False,
    batch: int = 8,
    **config: Any,
) -> Loader:
    clips = ClipSet(*shards, {})
    settings = {"frames": 4, "size_px": 16, "decoder": "reference", "readers": READERS, **config}
    pixels = Pixels(
        clips,
        FeedConfig(**settings),
        augment=AugmentConfig(),
        seed=5,
        quarantine=Quarantine(folder, 0),
    )
    dataset = ExamSet(clips) if exams else clips
    prefetch = pixels.config.prefetch
    return Loader(dataset, pixels, global_batch=batch, seed=5, training=True, prefetch=prefetch)


@pytest.mark.parametrize("exams", [False, True])
def test_batches_do_not_depend_on_the_number_of_readers(shards, tmp_path, exams: bool) -> None:
    batch = 2 if exams else 8
    expected, *others = (
        list(make_loader(shards, tmp_path, exams=exams, batch=batch, **config).epochs(0, 2, 1))
        for config in (
            {"readers": 1, "threads": 1, "prefetch": 1},
            {"readers": 3, "threads": 2},
            {"readers": 16, "threads": 1, "prefetch": 3},
        )
    )
    for found in others:
        assert [batch.key for batch in found] == [batch.key for batch in expected]
        for got, wanted in zip(found, expected, strict=True):
            assert torch.equal(got.clips, wanted.clips)


@pytest.mark.parametrize("batch", [2, 8])
def test_reads_wait_side_by_side(shards, tmp_path, monkeypatch, batch: int) -> None:
    """Small batches too are read far enough ahead for all readers."""
    pread = os.pread
    all_wait = threading.Barrier(READERS)

    def together(descriptor: int, size: int, offset: int) -> bytes:
        all_wait.wait(timeout=30)
        return pread(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", together)
    batches = make_loader(shards, tmp_path, batch=batch, threads=1, prefetch=2).epoch(0)
    assert next(batches).valid.all()
    all_wait.abort()
    monkeypatch.setattr(patience, "WAITS_S", ())
    batches.close()  # type: ignore[attr-defined]


def fails(monkeypatch: pytest.MonkeyPatch, when: Callable[[int], bool]) -> None:
    """Have reads fail by their number."""
    pread = os.pread
    numbers = iter(range(1 << 30))

    def read(descriptor: int, size: int, offset: int) -> bytes:
        if when(next(numbers)):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return pread(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", read)


def test_an_outage_leaves_no_trace_in_batches(shards, tmp_path, monkeypatch, capsys) -> None:
    expected = list(make_loader(shards, tmp_path).epoch(0))
    monkeypatch.setattr(patience, "WAITS_S", (0.0,) * 40)
    fails(monkeypatch, lambda number: 5 <= number < 30 or number % 7 == 3)
    for found, wanted in zip(make_loader(shards, tmp_path).epoch(0), expected, strict=True):
        assert torch.equal(found.clips, wanted.clips)
        assert found.valid.all()
    assert capsys.readouterr().err.count("\n") == 1, "said once"
    assert not list(tmp_path.iterdir()), "nothing is set aside"


def test_an_outage_that_lasts_ends_the_epoch_and_sets_nothing_aside(
    shards, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(patience, "WAITS_S", (0.0, 0.0))
    fails(monkeypatch, lambda number: number >= 20)
    before = threading.active_count()
    with pytest.raises(Unreadable, match="Stale file handle, 3 times"):
        list(make_loader(shards, tmp_path, batch=4).epoch(0))
    assert threading.active_count() == before
    assert not list(tmp_path.iterdir())


def test_stopping_does_not_wait_for_storage(shards, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(patience, "WAITS_S", (3600.0,))
    fails(monkeypatch, lambda number: number >= 8)
    before = threading.active_count()
    # One reader, or a clip of the first batch could be the ninth to be read.
    batches = make_loader(shards, tmp_path, readers=1).epoch(0)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
    assert not list(tmp_path.iterdir())


def test_the_pool_counts_what_is_read_and_not_taken() -> None:
    with ReaderPool(2) as pool:
        first = pool.begin(lambda clip, stopped: 10 * clip, [1, 2])
        second = pool.begin(lambda clip, stopped: 10 * clip, [3, 4, 5])
        deadline = time.monotonic() + 120
        while pool.ready < 5 and time.monotonic() < deadline:
            time.sleep(0.001)
        assert pool.ready == 5
        assert pool.take(first) == [10, 20]
        assert pool.ready == 3
        assert pool.take(second) == [30, 40, 50]


def test_quick_reads_share_a_thread_s_task_and_slow_ones_do_not(monkeypatch) -> None:
    now_s = 0.0
    monkeypatch.setattr(reader_pool, "time", SimpleNamespace(perf_counter=lambda: now_s))

    def takes(seconds: float) -> Callable[[int, Event], int]:
        def read(clip: int, stopped: Event) -> int:
            nonlocal now_s
            now_s += seconds
            return clip

        return read

    def parts(seconds: float) -> int:
        with ReaderPool(1) as pool:
            for _ in range(99):
                pool.take(pool.begin(takes(seconds), range(4)))
            return len(pool.begin(takes(seconds), range(16)))

    assert parts(0.0001) == 2
    assert parts(0.0004) == 8
    assert parts(0.004) == 16
