"""A manifest of a million clips: how long it takes to open, and what the order of an epoch costs on
it.

.venv/bin/python benchmarks/manifest.py
"""

from __future__ import annotations

import argparse
import json
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from contrastive import peak_and_current_mb

from bsou_dist.shards.manifest import FORMAT_VERSION, MANIFEST_NAME, SCHEMA, SUMMARY_NAME

SHARD_CLIPS, SWEEPS = 256, ("M", "L", "R", "C1", "C2", "C3")


def write(folder: Path, clips: int) -> None:
    """A manifest as `bsou pack` writes it; the shards are there by name only."""
    number = np.arange(clips)
    size = np.random.default_rng(0).integers(200_000, 600_000, clips)
    offset = 1024 + np.concatenate([[0], np.cumsum(size)[:-1]])
    pseudonyms = {
        name: np.array([secrets.token_hex(8) for _ in range(clips // each)])[
            number // each % (clips // each)
        ]
        for name, each in (("patient", 40), ("study", 20), ("exam", 10), ("clip", 1))
    }
    sweep = np.array(SWEEPS)[number % 6]
    columns: dict[str, Any] = {
        "key": [
            f"{study}-{name}-{place}"
            for study, name, place in zip(pseudonyms["study"], sweep, number % 20 // 6, strict=True)
        ],
        "shard": np.array([f"{shard:06d}.tar" for shard in range(clips // SHARD_CLIPS + 1)])[
            number // SHARD_CLIPS
        ],
        "json_offset": offset - 512,
        "json_size": np.full(clips, 400),
        "offset": offset,
        "size": size,
        "codec": np.full(clips, "jpeg"),
        "frames": np.full(clips, 48),
        "height": np.full(clips, 256),
        "width": np.full(clips, 256),
        "mm_per_px": np.full(clips, 0.75),
        "scale_source": np.full(clips, "cohort table"),
        "notes": np.full(clips, None),
        "sweep": sweep,
        "clip_class": np.full(clips, "blind"),
        "device": np.array(["GE V830", "Butterfly iQ"])[number // 10 % 2],
        "operator": np.array(["expert", "novice"])[number // 10 % 2],
        "site": np.full(clips, "FAM-025"),
        "bmi": 20.0 + number // 40 % 15,
        **pseudonyms,
        "sha256": [secrets.token_hex(32) for _ in range(clips)],
    }
    pq.write_table(
        pa.table({name: columns[name] for name in SCHEMA.names}, schema=SCHEMA),
        folder / MANIFEST_NAME,
    )
    (folder / SUMMARY_NAME).write_text(json.dumps({"format_version": FORMAT_VERSION}))
    for shard in range(clips // SHARD_CLIPS + 1):
        (folder / f"{shard:06d}.tar").touch()


def measure(folder: Path) -> dict[str, float]:
    """In a process of its own: seconds and extra memory of each step."""
    from bsou_dist.feed.dataset import ClipSet
    from bsou_dist.feed.order.balanced import Balanced
    from bsou_dist.feed.order.grouped import Grouped
    from bsou_dist.feed.order.shuffled import Shuffled
    from bsou_dist.feed.order.windowed import Windowed
    from bsou_dist.shards.manifest import read_manifest
    from bsou_dist.shards.reader import ShardReader

    found: dict[str, float] = {}

    def step(name: str, make: Callable[[], Any]) -> Any:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        _, before_mb = peak_and_current_mb()
        began = time.perf_counter()
        made = make()
        found[f"{name}_s"] = time.perf_counter() - began
        peak_mb, after_mb = peak_and_current_mb()
        found[f"{name}_peak_mb"], found[f"{name}_kept_mb"] = (
            peak_mb - before_mb,
            after_mb - before_mb,
        )
        return made

    manifest = step("open", lambda: read_manifest(folder))
    clips = step("clip_set", lambda: ClipSet(folder, manifest, {}))
    reader = step("reader", lambda: ShardReader(folder, clips.manifest))
    n, shard, label = len(clips), reader.shard, clips.sweep
    for name, order in (
        ("shuffled", Shuffled(n, 256, 0)),
        ("windowed", Windowed(shard, 256, 0, 16)),
        ("balanced", Balanced(label, 256, 0)),
        ("grouped", Grouped(clips.study, 256, 0, 2)),
    ):
        step(f"epoch_order_{name}", lambda order=order: order.epoch(1))
    return found


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--clips", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/manifest.json")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), options.clips)
        rounds = []
        for _ in range(options.rounds):
            done = subprocess.run(
                [sys.executable, __file__, "--measure", folder],
                capture_output=True,
                text=True,
                check=True,
            )
            rounds.append(json.loads(done.stdout))
            print(done.stdout.strip(), flush=True)
        size_mb = (Path(folder) / MANIFEST_NAME).stat().st_size / 1e6
    medians = {name: round(statistics.median(one[name] for one in rounds), 3) for name in rounds[0]}
    result = {"clips": options.clips, "file_mb": round(size_mb), "median": medians}
    print(json.dumps(result, indent=2))
    options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
