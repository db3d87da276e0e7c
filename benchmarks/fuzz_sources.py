"""Damaged files of every kind that is read, through the packer's worker: does each become a clip or
a reason, and does a whole file read after them give the same bytes as before?

BSOU_FUZZ=10000 .venv/bin/python benchmarks/fuzz_sources.py
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/support"))
from fuzzed import damaged, whole_files, write_clip

from bsou_dist.common.worker_pool import Limits, Lost, ordered_map
from bsou_dist.packing.encode_clip import EncodedClip, EncodeRequest, PackConfig, encode_clip
from bsou_dist.prepare.prepare_clip import PrepareConfig

LIMITS = Limits(seconds=20.0, memory_mb=256)
CONFIG = PackConfig(prepare=PrepareConfig(size_px=64, field_mm=120.0, max_frames=8))
WHOLE_AFTER = 10  # damaged files between two whole ones


def encoded(request: tuple[str, EncodeRequest]) -> tuple[str, float]:
    """Outcome of a file, and the seconds that it took: 'clip' and its hash, or the reason."""
    _, clip = request
    began = time.perf_counter()
    outcome = encode_clip(clip, CONFIG)
    text = f"clip {outcome.sha256}" if isinstance(outcome, EncodedClip) else outcome
    return text, time.perf_counter() - began


def cases(folder: Path, files: int, seed: int) -> Iterator[tuple[str, EncodeRequest]]:
    """Write damaged files, and a whole one after every few; each with its kind."""
    random = np.random.default_rng(seed)
    whole = whole_files(folder)
    kinds = list(whole)
    for number in range(files):
        kind = kinds[number % len(kinds)]
        other = whole[kinds[random.integers(len(kinds))]]
        path = folder / f"damaged-{number}"
        write_clip(path, kind, damaged(whole[kind], other, random))
        yield kind, (folder, path.name, 1.2)
        if number % WHOLE_AFTER == 0:
            path = folder / f"whole-{number}"
            kind = kinds[number // WHOLE_AFTER % len(kinds)]
            write_clip(path, kind, whole[kind])
            yield f"whole {kind}", (folder, path.name, 1.2)


def remove(path: Path) -> None:
    """Remove a file or a folder of images."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def measure(folder: Path, files: int, seed: int, workers: int) -> dict[str, Any]:
    """What became of all files."""
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    reasons: Counter[str] = Counter()
    hashes: dict[str, set[str]] = defaultdict(set)
    lost: list[str] = []
    slowest_s = 0.0
    waiting: list[tuple[str, EncodeRequest]] = []

    def remembered() -> Iterator[tuple[str, EncodeRequest]]:
        for case in cases(folder, files, seed):
            waiting.append(case)
            yield case

    for outcome in ordered_map(encoded, remembered(), workers, LIMITS):
        kind, (_, name, _) = waiting.pop(0)
        if isinstance(outcome, Lost):
            lost.append(f"{name}, {kind}: {outcome.reason}")
            outcomes[kind]["lost"] += 1
            reasons[f"lost: {outcome.reason}"] += 1
        else:
            text, seconds = outcome
            slowest_s = max(slowest_s, seconds)
            is_clip = text.startswith("clip ")
            if kind.startswith("whole "):
                hashes[kind].add(text)
            else:
                outcomes[kind]["clip" if is_clip else "rejected"] += 1
                reasons["clip" if is_clip else re.sub(r"[\d.]+", "#", text)] += 1
        remove(folder / name)
    changed = [
        kind
        for kind, found in hashes.items()
        if len(found) > 1 or not all(text.startswith("clip ") for text in found)
    ]
    return {
        "files": files,
        "seed": seed,
        "limits": {"seconds": LIMITS.seconds, "memory_mb": LIMITS.memory_mb},
        "clips": reasons["clip"],
        "rejected_with_a_reason": files - reasons["clip"] - len(lost),
        "rejected_without_a_reason": reasons[""],
        "decoder_crashed": reasons["lost: its decoder crashed"],
        "took_too_long": sum(
            count for reason, count in reasons.items() if "took more than" in reason
        ),
        "needed_too_much_memory": sum(
            count for reason, count in reasons.items() if "needed more than" in reason
        ),
        "whole_files_in_between": files // WHOLE_AFTER,
        "whole_files_that_gave_other_bytes": changed,
        "slowest_s": round(slowest_s, 1),
        "by_kind": {kind: dict(sorted(counts.items())) for kind, counts in outcomes.items()},
        "reasons": dict(reasons.most_common()),
        "lost": lost,
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results/fuzz_sources.json"
    )
    options = parser.parse_args()
    files = int(os.environ.get("BSOU_FUZZ", "10000"))
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), files, options.seed, options.workers)
    text = json.dumps(result, indent=2)
    print(text)
    options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
