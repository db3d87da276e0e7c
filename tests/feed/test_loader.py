"""The loader: the same rows for any world, start and number of threads; masks; faults; threads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from bsou_dist.common.errors import InputError
from bsou_dist.feed.augment import DEVIATION, MEAN, AugmentConfig, choose_frames
from bsou_dist.feed.batch import Batch
from bsou_dist.feed.dataset import ClipSet, ExamSet
from bsou_dist.feed.global_rows import GlobalRows
from bsou_dist.feed.loader import Loader
from bsou_dist.feed.order.make import OrderConfig
from bsou_dist.feed.pixels import FeedConfig, Pixels
from bsou_dist.feed.quarantine import Quarantine, QuarantineExceeded, default_budget
from bsou_dist.feed.reader_pool import ReaderPool
from bsou_dist.shards.patience import Unreadable

CONFIG = FeedConfig(frames=4, size_px=16, decoder="reference", threads=2)


@pytest.fixture(scope="module")
def shards(make_shards, tmp_path_factory) -> tuple[Path, pd.DataFrame]:
    return make_shards(tmp_path_factory.mktemp("shards"), clips=28)


def labels(count: int) -> dict[str, np.ndarray]:
    return {"kind": np.arange(count) % 3 - 1, "ga": np.linspace(150, 280, count, dtype=np.float32)}


def clip_set(shards: tuple[Path, pd.DataFrame]) -> ClipSet:
    folder, manifest = shards
    return ClipSet(folder, manifest, labels(len(manifest)))


def exam_set(shards: tuple[Path, pd.DataFrame]) -> ExamSet:
    folder, manifest = shards
    ga_days = np.array([200, 180, 220, 250], dtype=np.float32)
    return ExamSet(ClipSet(folder, manifest, {"ga": np.repeat(ga_days, 7)}))


def loader(dataset: ClipSet | ExamSet, tmp_path: Path, **changes: Any) -> Loader:
    """A loader of pixels; `changes` are arguments of `Pixels` or of `Loader`."""
    of_loader: dict[str, Any] = {"global_batch": 8, "seed": 5, "training": True, **changes}
    of_source: dict[str, Any] = {
        "config": CONFIG,
        "augment": AugmentConfig(),
        "views": 1,
        "quarantine": Quarantine(tmp_path, 0),
    }
    for name, default in of_source.items():
        of_source[name] = of_loader.pop(name, default)
    source = Pixels(dataset.clips, seed=of_loader["seed"], **of_source)
    return Loader(dataset, source, **of_loader)


def first_batch(
    dataset: ClipSet | ExamSet, tmp_path: Path, epoch: int = 0, **changes: Any
) -> Batch:
    return next(iter(loader(dataset, tmp_path, **changes).epoch(epoch)))


def join(parts: list[Batch], name: str) -> torch.Tensor:
    """Rows of all ranks in rank order, view by view: (views, rows, ...)."""
    views = parts[0].views
    values = [part.labels[name] if name in part.labels else getattr(part, name) for part in parts]
    return torch.cat([value.unflatten(0, (views, -1)) for value in values], dim=1)


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("unit", ["clip", "exam"])
@pytest.mark.parametrize("training", [True, False])
def test_rows_do_not_depend_on_the_world(
    shards, tmp_path, world: int, unit: str, training: bool
) -> None:
    dataset: ClipSet | ExamSet = clip_set(shards) if unit == "clip" else exam_set(shards)
    settings = {"global_batch": 10 if unit == "clip" else 3, "training": training, "views": 2}
    alone = list(loader(dataset, tmp_path, **settings).epoch(1))
    ranks = [
        list(loader(dataset, tmp_path, **settings, rank=rank, world=world).epoch(1))
        for rank in range(world)
    ]
    assert [len(batches) for batches in ranks] == [len(alone)] * world
    for step, whole in enumerate(alone):
        parts = [batches[step] for batches in ranks]
        for name in ("clips", "slots", "valid", "study", "exam", "subject", "sweep", "index"):
            assert torch.equal(join(parts, name), join([whole], name)), name
        assert torch.equal(join(parts, "ga").nan_to_num(-1), join([whole], "ga").nan_to_num(-1))


def test_training_on_all_items_masks_what_a_batch_lacks(shards, tmp_path) -> None:
    settings = {"global_batch": 8, "keep_all": True, "world": 3}
    ranks = [
        list(loader(clip_set(shards), tmp_path, **settings, rank=rank).epoch(1))
        for rank in range(3)
    ]
    batches = list(zip(*ranks, strict=True))
    assert [sum(int(part.valid.sum()) for part in parts) for parts in batches] == [7] * 4
    keys = [key for parts in batches for part in parts for key in part.key if key]
    assert sorted(keys) == sorted(shards[1]["key"])


ORDERS = [
    OrderConfig(),
    OrderConfig(kind="windowed", window_shards=1),
    OrderConfig(kind="balanced", by="kind"),
    OrderConfig(kind="grouped", group=4),
]


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.kind)
def test_an_epoch_continues_from_the_middle_on_any_number_of_ranks(
    shards, tmp_path, order: OrderConfig
) -> None:
    whole = list(loader(clip_set(shards), tmp_path, order=order, global_batch=4).epoch(2))
    settings = {
        "config": CONFIG.model_copy(update={"threads": 1}),
        "order": order,
        "global_batch": 4,
        "world": 2,
    }
    ranks = [
        list(loader(clip_set(shards), tmp_path, rank=rank, **settings).epoch(2, 2))
        for rank in range(2)
    ]
    assert len(whole) > 3
    assert [batch.step for batch in ranks[0]] == list(range(2, len(whole)))
    for expected, *parts in zip(whole[2:], *ranks, strict=True):
        assert [key for part in parts for key in part.key] == expected.key
        assert torch.equal(torch.cat([part.clips for part in parts]), expected.clips)


def test_orders_know_shards_classes_and_studies(shards, tmp_path) -> None:
    dataset = clip_set(shards)
    in_windows = loader(dataset, tmp_path, order=ORDERS[1], global_batch=2).order.epoch(0).ravel()
    assert dataset.manifest["shard"][in_windows].nunique() == 2
    assert dataset.manifest["shard"][in_windows[:14]].nunique() == 1
    [balanced, *_] = loader(dataset, tmp_path, order=ORDERS[2], global_batch=8).epoch(0)
    assert balanced.labels["kind"].bincount().tolist() == [4, 4]
    [grouped, *_] = loader(dataset, tmp_path, order=ORDERS[3], global_batch=8).epoch(0)
    assert [len(set(grouped.study[rows].tolist())) for rows in (slice(4), slice(4, 8))] == [1, 1]
    exams = loader(exam_set(shards), tmp_path, order=ORDERS[1], global_batch=1)
    by_exam = exams.order.epoch(0).ravel()
    assert sorted(by_exam[:2]) in ([0, 1], [2, 3])


@pytest.mark.parametrize("start_step", [0, 3])
def test_windows_are_prefetched_before_they_are_read(
    make_shards, tmp_path, monkeypatch, start_step: int
) -> None:
    folder, manifest = make_shards(tmp_path)
    by_four = manifest.assign(shard=[f"{row // 4:06d}.tar" for row in range(len(manifest))])
    for name in by_four["shard"].unique():
        (folder / name).touch()
    windowed = loader(
        ClipSet(folder, by_four, {}),
        tmp_path,
        order=ORDERS[1],
        global_batch=2,
        prefetch=1,
        quarantine=Quarantine(tmp_path / "run", 99),
        config=CONFIG.model_copy(update={"threads": 1, "readers": 1}),
    )
    events: list[tuple[str, int]] = []
    shard_of_clip = windowed.source._reader.shard
    begin = ReaderPool.begin

    def record_prefetch(pool: ReaderPool, prefetch_shard: object, shards: list[int]) -> None:
        events.extend(("prefetched", shard) for shard in shards)

    def record_begin(pool: ReaderPool, read: Any, clips: list[int]) -> Any:
        events.extend(("read", int(shard_of_clip[clip])) for clip in clips)
        return begin(pool, read, clips)

    monkeypatch.setattr(ReaderPool, "prefetch", record_prefetch)
    monkeypatch.setattr(ReaderPool, "begin", record_begin)
    list(windowed.epoch(0, start_step))

    windows = windowed.order.windows(0)  # a shard each
    ends = [begin for begin, _ in windows[1:]] + [len(manifest)]
    first_item = 2 * start_step
    expected = [shard for (_, [shard]), end in zip(windows, ends, strict=True) if end > first_item]
    in_order = [shard for kind, shard in events if kind == "prefetched"]
    assert in_order == expected, "each once, in the order of reading"
    for shard in expected:
        assert events.index(("prefetched", shard)) < events.index(("read", shard))
    for now in range(len(events)):
        prefetched = {shard for kind, shard in events[:now] if kind == "prefetched"}
        read = {shard for kind, shard in events[:now] if kind == "read"}
        assert len(prefetched - read) <= 2, "one window ahead, since memory must hold them"


def test_training_draws_anew_each_epoch_and_evaluation_does_not(shards, tmp_path) -> None:
    first, second = (first_batch(clip_set(shards), tmp_path, epoch) for epoch in (0, 1))
    assert first.key != second.key
    first, second = (
        first_batch(clip_set(shards), tmp_path, epoch, training=False) for epoch in (0, 1)
    )
    assert torch.equal(first.clips, second.clips)


def test_evaluation_sees_each_clip_once_and_masks_padding(shards, tmp_path) -> None:
    dataset = clip_set(shards)
    batches = list(loader(dataset, tmp_path, training=False, augment=None).epoch(0))
    assert [len(batch.key) for batch in batches] == [8] * 4
    assert [key for batch in batches for key in batch.key][:28] == dataset.key
    tail = batches[-1]
    assert tail.valid.tolist() == [True] * 4 + [False] * 4
    assert tail.key[4:] == [""] * 4
    assert (tail.clips[4:] == 0).all()
    codes = [tail.index, tail.study, tail.exam, tail.subject, tail.sweep, tail.labels["kind"]]
    for values in codes:
        assert values[4:].tolist() == [-1] * 4
    assert tail.labels["ga"].isnan().tolist() == [False] * 4 + [True] * 4


@pytest.mark.parametrize("codec", ["jpeg", "h264"])
def test_pixels_are_those_of_the_clip(make_shards, packed_pixels, tmp_path, codec: str) -> None:
    config = CONFIG.model_copy(update={"size_px": 32, "decoder": "auto"})
    dataset = clip_set(make_shards(tmp_path, codec=codec))
    batch = first_batch(dataset, tmp_path, training=False, augment=None, config=config)
    for row in (0, 5):
        packed = packed_pixels(row, 10, 32)[choose_frames(10, 4)]
        shown = (batch.clips[row, 0].numpy() * DEVIATION + MEAN) * 255
        # The loss of the codec; another frame or clip differs by 15 and more.
        assert np.abs(shown - packed).mean() < 5


def test_two_views_share_identity_and_differ_in_pixels(shards, tmp_path) -> None:
    batch = first_batch(clip_set(shards), tmp_path, views=2)
    single = first_batch(clip_set(shards), tmp_path)
    assert batch.clips.shape == (16, 1, 4, 16, 16)
    assert batch.views == 2
    assert batch.key == single.key * 2
    for of_two, of_one in (
        (batch.index, single.index),
        (batch.sweep, single.sweep),
        (batch.valid, single.valid),
        (batch.labels["kind"], single.labels["kind"]),
    ):
        assert torch.equal(of_two, torch.cat([of_one, of_one]))
    assert torch.equal(batch.clips[:8], single.clips)
    assert all(not torch.equal(batch.clips[row], batch.clips[row + 8]) for row in range(8))


def test_exams_have_six_masked_slots(shards, tmp_path) -> None:
    folder, manifest = shards
    manifest = manifest.copy()
    manifest.loc[2, "sweep"] = None
    exams = ExamSet(ClipSet(folder, manifest, {}))
    batch = first_batch(exams, tmp_path, global_batch=2, training=False, augment=None)
    assert batch.clips.shape == (2, 6, 1, 4, 16, 16)
    assert batch.slots.tolist() == [[True, True, False, True, True, True], [True] * 6]
    assert (batch.clips[0, 2] == 0).all()
    assert batch.key == ["exam0", "exam1"]
    clips = first_batch(clip_set(shards), tmp_path, training=False, augment=None).clips
    assert torch.equal(batch.clips[0, [0, 1, 3, 4, 5]], clips[[0, 1, 3, 4, 5]])


def corrupt(folder: Path, row: pd.Series) -> None:
    """Overwrite a clip's first frames, so that they are no JPEG."""
    with (folder / row["shard"]).open("r+b") as shard:
        shard.seek(row["offset"])
        shard.write(b"\0" * (row["size"] // 2))


@pytest.mark.parametrize("decoder", ["reference", "dali"])
def test_a_corrupt_clip_is_set_aside_and_masked(make_shards, tmp_path, decoder: str) -> None:
    folder, manifest = make_shards(tmp_path)
    corrupt(folder, manifest.iloc[3])
    whole = clip_set((folder, manifest))
    quarantine = Quarantine(tmp_path / "run", 1)
    settings: dict[str, Any] = {
        "global_batch": 7,
        "training": False,
        "views": 2,
        "quarantine": quarantine,
        "config": CONFIG.model_copy(update={"decoder": decoder}),
    }
    for _ in range(2):  # a second epoch does not count it again
        first, second = loader(whole, tmp_path, **settings).epoch(0)
    assert first.valid.tolist() == ([True] * 3 + [False] + [True] * 3) * 2
    assert second.valid.all()
    assert first.key[3] == whole.key[3]
    assert (first.clips[[3, 10]] == 0).all()
    assert first.labels["kind"][3] == -1
    assert first.labels["ga"][[3, 10]].isnan().all()
    listed = pd.read_csv(quarantine.path)
    assert listed[["shard", "offset", "key"]].values.tolist() == [
        ["000000.tar", manifest["offset"][3], whole.key[3]]
    ]
    assert quarantine.count == Quarantine(tmp_path / "run", 1).count == 1

    exams = ExamSet(ClipSet(folder, manifest, {}))
    batch = first_batch(exams, tmp_path, **{**settings, "global_batch": 1})
    assert batch.slots[0].tolist() == [True] * 3 + [False] + [True] * 2
    assert batch.valid.all()


def test_past_the_budget_the_run_stops_and_names_the_file(make_shards, tmp_path) -> None:
    folder, manifest = make_shards(tmp_path)
    corrupt(folder, manifest.iloc[3])
    corrupt(folder, manifest.iloc[9])
    with (folder / "000001.tar").open("r+b") as shard:
        shard.truncate(int(manifest["offset"].iloc[-1]) + 5)
    quarantine = Quarantine(tmp_path, 2)
    one_after_another = CONFIG.model_copy(update={"threads": 1})
    feed = loader(
        clip_set((folder, manifest)),
        tmp_path,
        global_batch=5,
        training=False,
        config=one_after_another,
        quarantine=quarantine,
    )
    batches = feed.epoch(0)
    assert [next(batches).valid.all().item() for _ in range(2)] == [False, False]
    exceeded = r"(?s)3 clips .* 2 are allowed.*quarantine-\*\.csv.*000001\.tar"
    with pytest.raises(QuarantineExceeded, match=exceeded):
        next(batches)
    reasons = pd.read_csv(quarantine.path)["reason"]
    assert reasons.iloc[-1].startswith("CorruptClip: 000001.tar ends")
    assert (default_budget(100), default_budget(654_448)) == (10, 654)


def test_a_manifest_of_other_shards_is_noticed(make_shards, tmp_path) -> None:
    folder, manifest = make_shards(tmp_path)
    wrong = manifest.assign(key=manifest["key"].tolist()[::-1])
    with pytest.raises(QuarantineExceeded, match="holds 10 frames of 'study"):
        list(loader(clip_set((folder, wrong)), tmp_path).epoch(0))


def test_batches_are_made_ahead_but_not_without_bound(shards, tmp_path, monkeypatch) -> None:
    ahead = loader(clip_set(shards), tmp_path, global_batch=2, prefetch=3)
    fill, made = ahead.source.fill, []

    def record(rows: torch.Tensor, picked: np.ndarray, *rest: Any) -> np.ndarray:
        made.append(picked.tolist())
        return fill(rows, picked, *rest)

    monkeypatch.setattr(ahead.source, "fill", record)
    batches = ahead.epoch(0)
    assert made == []
    assert next(batches).step == 0
    deadline = time.monotonic() + 120
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)  # room to go too far
    assert sorted(made) == sorted(ahead.order.epoch(0)[:4].tolist())
    assert [batch.step for batch in batches] == list(range(1, 14))


def test_epochs_follow_each_other_without_a_gap(shards, tmp_path, monkeypatch) -> None:
    """A trainer sees the epochs one by one, but the next one is begun before it asks for it."""
    feed = loader(clip_set(shards), tmp_path)
    steps, fill, epochs = feed.steps(), feed.source.fill, []

    def record(*arguments: Any) -> np.ndarray:
        epochs.append(arguments[-1])
        return fill(*arguments)

    monkeypatch.setattr(feed.source, "fill", record)
    batches = feed.epochs(1, 3, start_step=steps - 2)
    got = [next(batches), next(batches)]
    deadline = time.monotonic() + 120
    while epochs.count(2) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sorted(epochs) == [1, 1, 2, 2]
    got += batches
    assert [(batch.epoch, batch.step) for batch in got] == [
        (1, steps - 2),
        (1, steps - 1),
        *((2, step) for step in range(steps)),
    ]
    wanted = [*feed.epoch(1, steps - 2), *feed.epoch(2)]
    for found, expected in zip(got, wanted, strict=True):
        assert torch.equal(found.clips, expected.clips)
        assert found.key == expected.key
    # An epoch that was stopped after its last step has no batch left.
    assert [batch.epoch for batch in feed.epochs(1, 3, start_step=steps)] == [2] * steps
    assert not list(feed.epochs(2, 2))


def test_makers_compute_alone_and_whoever_trains_does_not(shards, tmp_path) -> None:
    """In a process of its own, whose first computation comes after the first batch."""
    program = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
import pandas as pd, torch
from tests.feed.test_loader import clip_set, loader
from pathlib import Path
folder = Path({str(shards[0])!r})
manifest = pd.read_parquet(folder / "manifest.parquet")
feed = loader(clip_set((folder, manifest)), Path({str(tmp_path)!r}))
fill, threads = feed.source.fill, []
feed.source.fill = lambda *args: (threads.append(torch.get_num_threads()), fill(*args))[1]
next(feed.epoch(0))
print(torch.get_num_threads(), set(threads))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "2"},
    )
    assert done.stdout == "2 {1}\n"


def test_stopping_early_leaves_no_thread(shards, tmp_path) -> None:
    before = threading.active_count()
    batches = loader(clip_set(shards), tmp_path).epoch(0)
    assert next(batches).data_wait_s > 0
    batches.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
    with pytest.raises(StopIteration):
        next(batches)


def test_an_error_in_the_thread_reaches_the_consumer(make_shards, tmp_path) -> None:
    folder, manifest = make_shards(tmp_path)
    faulty = loader(clip_set((folder, manifest)), tmp_path)
    for shard in folder.glob("*.tar"):
        shard.unlink()
    before = threading.active_count()
    with pytest.raises(Unreadable, match="No such file or directory"):
        next(faulty.epoch(0))
    assert threading.active_count() == before


def test_batches_that_cannot_be_filled_are_refused(shards, tmp_path) -> None:
    with pytest.raises(InputError, match="global_batch to at most 28"):
        loader(clip_set(shards), tmp_path, global_batch=29)
    with pytest.raises(InputError, match="at least 9"):
        loader(clip_set(shards), tmp_path, world=9)


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("training", [True, False])
def test_a_rank_knows_the_rows_of_all_ranks_as_these_read_them(shards, tmp_path, views, training):
    dataset, world = clip_set(shards), 3

    class Known:
        def __init__(self, rows: GlobalRows) -> None:
            self.rows = rows

        def to(self, device: str) -> GlobalRows:
            return self.rows

    loaders = [
        loader(dataset, tmp_path, rank=rank, world=world, views=views, training=training)
        for rank in range(world)
    ]
    for one in loaders:
        one.planner = Known
    for batches in zip(*(one.epoch(0) for one in loaders), strict=True):  # the last one is padded
        for rank, batch in enumerate(batches):
            rows = batch.plan
            assert rows.rank == rank
            assert (
                rows.counts == [len(one.valid) for one in batches] == [3 * views] * 2 + [2 * views]
            )
            known = {
                "kind": rows.labels(["kind"])[0],
                "sweep": rows.sweep(),
                "subject": rows.subject(),
                "index": rows.items,
            }
            for name, values in known.items():
                read = [
                    one.labels["kind"] if name == "kind" else getattr(one, name) for one in batches
                ]
                np.testing.assert_array_equal(values, torch.cat(read).numpy(), err_msg=name)
