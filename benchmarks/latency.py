"""Clips per second of the feed from storage that answers late, over the same feed without reading.

Under each read of a shard lies a wait, as network storage has one; the pages are in the file cache.
The bare decoder gets the same clips out of memory: it decodes and augments them in the same number
of threads. Ways take turns, each in a process of its own, and a ratio is that of one round: 1.0
where the decoder is the limit, and not the reading. What readers alone can deliver, with a decoder
that takes no time, is stated beside it: a GPU's is faster than these cores.

    .venv/bin/python benchmarks/latency.py                             # in about five minutes
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
from feed import BATCH, TURNED, WORKERS, write_corpus

from bsou_dist.feed.dataset import ClipSet
from bsou_dist.feed.loader import Loader
from bsou_dist.feed.pixels import FeedConfig, Pixels
from bsou_dist.feed.quarantine import Quarantine
from bsou_dist.shards.manifest import read_manifest

LATENCIES_MS = (0, 4, 16)
READERS = (1, 8, 16)
ALONE = (8, 16, 32, 64)
"""Readers whose rate is measured without a decoder."""

ALONE_LATENCY_MS = 16
BARE = "bare"


def make_feed(folder: Path, readers: int) -> tuple[Loader, Pixels]:
    """The feed of `benchmarks/feed.py`, with so many readers."""
    clips = ClipSet(folder / "shards", read_manifest(folder / "shards"), {})
    config = FeedConfig(decoder="auto", threads=WORKERS, readers=readers)
    pixels = Pixels(clips, config, augment=TURNED, seed=0, quarantine=Quarantine(folder, 0))
    return Loader(clips, pixels, global_batch=BATCH, seed=0, training=True), pixels


def put_under_each_read(latency_ms: float) -> None:
    """Let `os.pread` answer late."""
    pread = os.pread

    def late(descriptor: int, size: int, offset: int) -> bytes:
        time.sleep(latency_ms / 1e3)
        return pread(descriptor, size, offset)

    os.pread = late


def measure(folder: Path, way: str, latency_ms: float, readers: int, epochs: int) -> dict[str, Any]:
    """Clips per second after an epoch to warm up, and clips read ahead, each the median."""
    loader, pixels = make_feed(folder, readers)
    if way == BARE:
        members = [pixels._read(clip, Event()) for clip in range(len(pixels.clips))]
        pixels._read = lambda clip, stopped: members[clip]  # type: ignore[method-assign]
    if way == "alone":
        pixels.fill = lambda rows, picked, members, epoch: np.ones(len(picked), bool)  # type: ignore[method-assign]
    put_under_each_read(latency_ms)
    ahead: list[int] = []

    def epoch(number: int) -> Iterator[int]:
        for batch in loader.epoch(number):
            ahead.append(batch.clips_read_ahead)
            yield len(batch.key)

    sum(epoch(0))
    rates = []
    for number in range(1, epochs + 1):
        began = time.perf_counter()
        clips = sum(epoch(number))
        rates.append(clips / (time.perf_counter() - began))
    return {"clips_per_s": statistics.median(rates), "read_ahead": statistics.median(ahead)}


def in_a_process(folder: Path, *arguments: object) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, __file__, "--measure", str(folder), *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(options: argparse.Namespace) -> dict[str, Any]:
    """All ways in turn."""
    bare: list[float] = []
    found: dict[tuple[int, int], list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name) / "corpus"
        write_corpus(folder, options.clips, options.patients)
        for turn in range(options.rounds):
            bare.append(in_a_process(folder, BARE, 0, 16, options.epochs)["clips_per_s"])
            print(turn, "bare decoder", round(bare[-1]), flush=True)
            for latency_ms in LATENCIES_MS:
                for readers in READERS:
                    one = in_a_process(folder, "feed", latency_ms, readers, options.epochs)
                    found.setdefault((latency_ms, readers), []).append(one)
                    print(turn, latency_ms, "ms,", readers, "readers", one, flush=True)
        alone = {
            readers: in_a_process(folder, "alone", ALONE_LATENCY_MS, readers, 3)["clips_per_s"]
            for readers in ALONE
        }
    rows = []
    for (latency_ms, readers), each in found.items():
        rates = [one["clips_per_s"] for one in each]
        ratios = sorted(rate / of_round for rate, of_round in zip(rates, bare, strict=True))
        rows.append(
            {
                "latency_ms": latency_ms,
                "readers": readers,
                "clips_per_s": round(statistics.median(rates)),
                "over_the_bare_decoder": round(statistics.median(ratios), 2),
                "of_each_round": [round(ratio, 2) for ratio in ratios],
                "clips_read_ahead": statistics.median(one["read_ahead"] for one in each),
            }
        )
    return {
        "clips": options.clips,
        "batch": BATCH,
        "decoder_threads": WORKERS,
        "processor": platform.processor() or platform.machine(),
        "load": round(os.getloadavg()[1], 1),
        "bare_decoder_clips_per_s": [round(rate) for rate in bare],
        "feed": rows,
        f"readers_alone_at_{ALONE_LATENCY_MS}_ms_clips_per_s": {
            readers: round(rate) for readers, rate in alone.items()
        },
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--measure", nargs=5, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help="where the clips are written")
    parser.add_argument("--clips", type=int, default=512)
    parser.add_argument("--patients", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/latency.json")
    options = parser.parse_args()
    if options.measure:
        folder, way, latency_ms, readers, epochs = options.measure
        print(json.dumps(measure(Path(folder), way, float(latency_ms), int(readers), int(epochs))))
        return
    result = table(options)
    print(json.dumps(result, indent=2))
    options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
