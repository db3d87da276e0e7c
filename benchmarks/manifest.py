"""A manifest of a million clips: how long it takes to open, and what the order of an epoch costs on
it. And a cohort as large as FAMLI, joined with its manifest: what the first start of a run costs,
and the second one on its first rank and on the others.

.venv/bin/python benchmarks/manifest.py
"""

from __future__ import annotations

import argparse
import gc
import json
import secrets
import shutil
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
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from contrastive import peak_and_current_mb

from bsou_dist.shards.manifest import FORMAT_VERSION, MANIFEST_NAME, SCHEMA, SUMMARY_NAME
from bsou_dist.shards.pseudonyms import Pseudonymizer

SHARD_CLIPS, SWEEPS = 256, ("M", "L", "R", "C1", "C2", "C3")
FAMLI_CLIPS = 654_448
KEY = "68" * 32
STARTS = ("first start", "second start, first rank", "second start, other rank")


def write(folder: Path, clips: int) -> None:
    """A manifest as `bsou pack` writes it; the shards are there by name only."""
    number = np.arange(clips)
    size = np.random.default_rng(0).integers(200_000, 600_000, clips)
    offset = 1024 + np.concatenate([[0], np.cumsum(size)[:-1]])
    pseudonyms = {
        name: np.array([secrets.token_hex(8) for _ in range(clips // each + 1)])[number // each]
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


def write_cohort(folder: Path, clips: int) -> None:
    """A cohort table of the clips of `folder`'s manifest, whose pseudonyms become the table's."""
    number = np.arange(clips)
    paths = [f"visits/{study:06d}/{clip:07d}.dcm" for clip, study in enumerate(number // 20)]
    pseudonymizer = Pseudonymizer(bytes.fromhex(KEY))
    table = pq.read_table(folder / MANIFEST_NAME)
    pseudonyms = pa.array([pseudonymizer.clip(path) for path in paths])
    place = table.column_names.index("clip")
    pq.write_table(table.set_column(place, "clip", pseudonyms), folder / MANIFEST_NAME)
    (folder / "pseudonym.key").write_text(KEY)
    study, patient = number // 20, number // 40
    lie = np.array(["cephalic", "non_cephalic", None])[study % 3]
    columns = {
        "patient_id": [f"P{one:06d}" for one in patient],
        "study_id": [f"S{one:06d}" for one in study],
        "path": paths,
        "sweep": np.array(SWEEPS)[number % 6],
        "clip_class": np.full(clips, "blind"),
        "ga_days": 100 + study * 7 % 180,
        "presentation": lie,
        "placenta": np.array(["anterior", "posterior", None])[study // 3 % 3],
        "dvp_cm": 2 + study % 60 / 10,
        "fetuses": np.ones(clips),
        "bmi": 20 + patient % 15,
        "site": np.full(clips, "FAM-025"),
        "device": np.where(patient % 8 == 0, "Butterfly iQ", "GE V830"),
        "operator": np.where(patient % 8 == 0, "novice", "expert"),
    }
    pacsv.write_csv(pa.table(columns), folder / "cohort.csv")


def memory_mb() -> dict[str, float]:
    """Memory of this process alone, and that of files that it has mapped, which ranks share."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    kb = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    private = kb["Private_Dirty"]
    return {"own_mb": private / 1024, "mapped_mb": (kb["Rss"] - private) / 1024}


def measure_start(folder: Path, start: str) -> dict[str, float]:
    """In a process of its own: seconds and memory of getting at the joined cohort."""
    from bsou_dist.experiment.config import DataConfig
    from bsou_dist.experiment.corpus import _corpus, load_corpus
    from bsou_dist.experiment.joined_cache import JoinedCache, load_kept
    from bsou_dist.tasks.task_set import load_tasks

    tasks = list(load_tasks("p1").values())
    data = DataConfig(
        shards=folder, cohort=folder / "cohort.csv", pseudonym_key=folder / "pseudonym.key"
    )
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before, (_, resident_mb) = memory_mb(), peak_and_current_mb()
    began = time.perf_counter()
    if start == STARTS[2]:
        [path] = (folder / "cache").glob("*.arrow")
        kept = load_kept(path)
        assert kept is not None
        corpus = _corpus(data, {"": kept}, tasks)
    else:
        corpus = load_corpus(data, tasks, JoinedCache(folder / "cache"))
    seconds = time.perf_counter() - began
    after, (peak_mb, _) = memory_mb(), peak_and_current_mb()
    began = time.perf_counter()
    for split in ("train", "valid"):
        corpus.clips("split_stage1", split, tasks)
    return {
        "clips": len(corpus.manifest),
        "s": seconds,
        "own_mb": after["own_mb"] - before["own_mb"],
        "peak_mb": peak_mb - resident_mb,
        "clip_sets_s": time.perf_counter() - began,
        "clip_sets_own_mb": memory_mb()["own_mb"] - after["own_mb"],
    }


def opening(clips: int, rounds: int) -> dict[str, Any]:
    """Medians of opening a manifest and of drawing orders."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), clips)
        measured = [in_own_process("--measure", folder) for _ in range(rounds)]
        size_mb = (Path(folder) / MANIFEST_NAME).stat().st_size / 1e6
    return {"clips": clips, "file_mb": round(size_mb), "median": medians(measured)}


def starts(rounds: int) -> dict[str, Any]:
    """Medians of every kind of start of a cohort as large as FAMLI."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, FAMLI_CLIPS)
        write_cohort(folder, FAMLI_CLIPS)
        measured: dict[str, list[dict[str, float]]] = {start: [] for start in STARTS}
        for _ in range(rounds):
            shutil.rmtree(folder / "cache", ignore_errors=True)
            for start in STARTS:
                measured[start].append(in_own_process("--start", start, "--measure", name))
        [kept] = (folder / "cache").glob("*.arrow")
        file_mb = round(kept.stat().st_size / 1e6)
    return {"file_mb": file_mb} | {start: medians(found) for start, found in measured.items()}


def in_own_process(*arguments: str) -> dict[str, float]:
    """What this script measures with some arguments."""
    done = subprocess.run(
        [sys.executable, __file__, *arguments], capture_output=True, text=True, check=True
    )
    print(*arguments[:2], done.stdout.strip(), flush=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Median of each figure."""
    return {name: round(statistics.median(one[name] for one in rounds), 3) for name in rounds[0]}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--clips", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/manifest.json")
    parser.add_argument(
        "--only", choices=("manifest", "starts"), help="keep what was measured of the other"
    )
    parser.add_argument("--start", choices=STARTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.start:
        print(json.dumps(measure_start(options.measure, options.start)))
        return
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    result = json.loads(options.out.read_text()) if options.only else {}
    if options.only != "starts":
        result |= opening(options.clips, options.rounds)
    if options.only != "manifest":
        result["starts"] = starts(options.rounds)
    print(json.dumps(result, indent=2))
    options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
