"""Memory of a process that feeds clips for an hour: epoch after epoch, all augmentations, as fast
as it can, with the heap of a process that trains.

    .venv/bin/python benchmarks/feed_memory.py --minutes 60
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import matplotlib
from contrastive import peak_and_current_mb
from feed import ours, write_corpus

from bsou_dist.engine.keep_memory import keep_freed_memory
from bsou_dist.feed.augment import AugmentConfig

SETTLED_S = 60.0
"""Memory is compared from here on: libraries fill their pools first."""


def main() -> None:
    """Measure, print, write and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--clips", type=int, default=512)
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results/feed_memory.json"
    )
    options = parser.parse_args()
    keep_freed_memory()
    minutes, memory_mb, clips, epoch = [], [], 0, 0
    with tempfile.TemporaryDirectory() as name:
        write_corpus(Path(name) / "corpus", options.clips, patients=8)
        feed = ours(Path(name) / "corpus", "dali", AugmentConfig())
        began = said = time.monotonic()
        while time.monotonic() - began < options.minutes * 60:
            for keys, _ in feed(epoch):
                clips += len(keys)
            epoch += 1
            if time.monotonic() - said > 10 or not minutes:
                said = time.monotonic()
                minutes.append((said - began) / 60)
                memory_mb.append(peak_and_current_mb()[1])
                print(f"{minutes[-1]:.1f} min: {clips} clips, {memory_mb[-1]:.0f} MB", flush=True)
    settled = [
        value for when, value in zip(minutes, memory_mb, strict=True) if when * 60 > SETTLED_S
    ]
    half = len(settled) // 2
    result = {
        "minutes": round(minutes[-1], 1),
        "clips": clips,
        "epochs": epoch,
        "memory_mb": {
            "lowest": round(min(settled)),
            "highest": round(max(settled)),
            "mean_of_first_half": round(sum(settled[:half]) / half, 1),
            "mean_of_second_half": round(sum(settled[half:]) / (len(settled) - half), 1),
        },
    }
    print(json.dumps(result, indent=2))
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    _draw(minutes, memory_mb, options.out.with_suffix(".png"))


def _draw(minutes: list[float], memory_mb: list[float], path: Path) -> None:
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
    axes.plot(minutes, memory_mb, linewidth=1)
    axes.set(
        xlabel="minutes of feeding", ylabel="resident memory (MB)", ylim=(0, 1.2 * max(memory_mb))
    )
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
