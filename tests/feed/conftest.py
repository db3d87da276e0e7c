"""A small shard folder of made-up clips, written with the packer's own functions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bsou_dist.common.sweeps import SWEEPS
from bsou_dist.shards.codec import Codec, encode_frames
from bsou_dist.shards.manifest import MANIFEST_NAME, manifest_of, write_manifest
from bsou_dist.shards.shard_file import ShardWriter

MakeShards = Callable[..., tuple[Path, pd.DataFrame]]


def clip_pixels(number: int, frames: int, side: int) -> np.ndarray:
    """Smooth moving pattern with grain, uint8 (F, H, W), another one for every number."""
    random = np.random.default_rng(number)
    y, x = np.mgrid[:side, :side] / side
    t = np.arange(frames)[:, None, None] / frames
    across = np.sin(2 * np.pi * (x * (1 + number % 3) + t))
    down = np.cos(2 * np.pi * y * (1 + number % 2))
    grain = random.normal(0, 8, (frames, side, side))
    return np.clip(128 + 90 * (across * down) + grain, 0, 255).astype(np.uint8)


def write_shards(
    folder: Path, clips: int = 14, frames: int = 10, side: int = 32, codec: Codec = "jpeg"
) -> tuple[Path, pd.DataFrame]:
    """Write `clips` into two shards.

    An exam has the six sweeps and one of no canonical type; a patient has two exams.
    """
    rows = []
    for shard, numbers in enumerate(np.array_split(np.arange(clips), 2)):
        with ShardWriter(folder, f"{shard:06d}") as writer:
            for number in numbers.tolist():
                data, offsets = encode_frames(
                    clip_pixels(number, frames, side), codec, jpeg_quality=90, crf=5
                )
                visit, sweep = number // 7, (*SWEEPS, None)[number % 7]
                shape = {
                    "codec": codec,
                    "frames": frames,
                    "height": side,
                    "width": side,
                    "mm_per_px": 1.0,
                }
                record = {"key": f"study{visit}-{sweep or 'x'}-{number}", "sweep": sweep, **shape}
                place = writer.add(
                    record if offsets is None else {**record, "frame_offsets": offsets}, data
                )
                rows.append(
                    {
                        **record,
                        **place,
                        "study": f"study{visit}",
                        "exam": f"exam{visit}",
                        "patient": f"patient{visit // 2}",
                        "sha256": hashlib.sha256(data).hexdigest(),
                    }
                )
            writer.commit()
    write_manifest(manifest_of(rows), folder)
    return folder, pd.read_parquet(folder / MANIFEST_NAME)


@pytest.fixture(scope="session")
def make_shards() -> MakeShards:
    """`write_shards`, for the tests."""
    return write_shards


@pytest.fixture(scope="session")
def packed_pixels() -> Callable[[int, int, int], np.ndarray]:
    """`clip_pixels`, for the tests."""
    return clip_pixels
