"""What a GPU is handed: all clips at once, and nothing that its queue would be waited for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from bsou_dist.feed import loader
from bsou_dist.feed.augment import AugmentConfig
from bsou_dist.feed.dataset import ClipSet
from bsou_dist.feed.loader import Loader
from bsou_dist.feed.pixels import FeedConfig, Pixels, clips_of_view, clips_together
from bsou_dist.feed.quarantine import Quarantine

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.parametrize("views", [1, 2])
def test_all_clips_at_once_are_those_of_one_at_a_time(views: int) -> None:
    random = np.random.default_rng(views)
    decoded = []
    for _ in range(5):
        chosen = random.integers(0, 40, (views, 6))
        chosen.sort()
        indices = np.unique(chosen)
        frames = torch.from_numpy(random.integers(0, 256, (len(indices), 8, 8), np.uint8))
        decoded.append((frames, np.searchsorted(indices, chosen)))
    for view in range(views):
        one_at_a_time = torch.stack(list(clips_of_view(decoded, view, "cpu")))
        assert torch.equal(clips_together(decoded, view), one_at_a_time)


def test_whole_clips_are_not_copied() -> None:
    frames = torch.zeros(6, 8, 8, dtype=torch.uint8)
    [clip] = clips_of_view([(frames, np.arange(6)[None])], 0, "cpu")
    assert clip.data_ptr() == frames.data_ptr()


def test_threads_that_make_batches_choose_their_gpu(monkeypatch) -> None:
    """A thread of CUDA begins with the first device, whichever the process trains on."""
    chosen: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    loader._compute_alone("cuda:3")
    loader._compute_alone("cpu")
    assert chosen == ["cuda:3"]


@pytest.fixture(scope="module")
def shards(make_shards, tmp_path_factory) -> tuple[Path, pd.DataFrame]:
    return make_shards(tmp_path_factory.mktemp("shards"), clips=28)


def batches(shards: tuple[Path, pd.DataFrame], folder: Path, **config: Any) -> list[torch.Tensor]:
    """Clips of an epoch on a GPU whose own queue is kept busy."""
    clips = ClipSet(*shards, {})
    pixels = Pixels(
        clips,
        FeedConfig(frames=4, size_px=16, **config),
        augment=AugmentConfig(),
        seed=5,
        views=2,
        quarantine=Quarantine(folder, 0),
        device="cuda",
    )
    feed = Loader(clips, pixels, global_batch=8, seed=5, training=True)
    busy = torch.ones(2048, 2048, device="cuda")
    found = []
    for batch in feed.epoch(0):
        for _ in range(20):
            busy = busy @ busy
        found.append(batch.clips.clone())
    return found


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("decoder", ["dali", "reference"])
def test_batches_on_a_gpu_are_whole_when_they_are_used(shards, tmp_path, decoder: str) -> None:
    first, second, plain = (
        batches(shards, tmp_path, decoder=name) for name in (decoder, decoder, "reference")
    )
    for one, other, reference in zip(first, second, plain, strict=True):
        assert torch.equal(one, other)
        assert (one - reference).abs().max() < 0.1  # nvJPEG differs by 2 grey levels


@pytest.mark.gpu
@needs_gpu
def test_the_host_does_not_wait_for_the_gpu_to_make_a_batch(shards, tmp_path) -> None:
    batches(shards, tmp_path, decoder="dali")  # whoever is first, waits for memory
    torch.cuda.set_sync_debug_mode("error")
    try:
        batches(shards, tmp_path, decoder="dali")
    finally:
        torch.cuda.set_sync_debug_mode("default")
