"""Speed of this checkout against another one, such as the commit before a change, in one run.

Both checkouts take turns at measurements of their own `benchmarks/`: the contrastive loss at
8,192 rows, the feed of JPEG shards, packing of three kinds of source, and the step of the trainer
over a bare loop. A ratio is that of one round, this checkout over the other (1.0: as fast);
stated are the median, the lowest and the highest of the rounds.

    git worktree add /tmp/before COMMIT
    .venv/bin/python benchmarks/against.py /tmp/before
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parents[1]
CONTRASTIVE_ROWS = 8192
FEED_CLIPS, FEED_PATIENTS, FEED_EPOCHS = 512, 8, 3
STEP_MODEL = "r3d_small"

Times = dict[str, float]
"""What was measured, less being better, by name."""


def run(checkout: Path, benchmark: str, *arguments: str) -> str:
    """What a benchmark of a checkout prints, with the package of that checkout."""
    done = subprocess.run(
        [sys.executable, f"benchmarks/{benchmark}.py", *arguments],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def contrastive(checkout: Path, folder: Path) -> Times:
    """Seconds forward and backward."""
    printed = run(checkout, "contrastive", "--measure", "bsou-dist", str(CONTRASTIVE_ROWS))
    found = json.loads(printed.splitlines()[-1])
    return {"forward and backward, s": found["forward_s"] + found["backward_s"]}


def write_feed_corpus(checkout: Path, folder: Path) -> None:
    """Write the clips of the feed, the same for both, in the checkout's own format."""
    program = (
        "import sys; sys.path.insert(0, 'benchmarks'); import feed; from pathlib import Path;"
        f"feed.write_corpus(Path({str(folder)!r}), {FEED_CLIPS}, {FEED_PATIENTS})"
    )
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    subprocess.run([sys.executable, "-c", program], cwd=checkout, env=environment, check=True)


def feed(checkout: Path, folder: Path) -> Times:
    """Milliseconds per clip, by the clock and of the processors."""
    corpus = folder / ("here" if checkout == HERE else "other")
    if not corpus.exists():
        write_feed_corpus(checkout, corpus)
    printed = run(checkout, "feed", "--measure", str(corpus), "bsou-dist (DALI)", str(FEED_EPOCHS))
    found = json.loads(printed.splitlines()[-1])
    return {
        "a clip, ms": 1e3 / found["clips_per_s"],
        "a clip, ms of the processors": found["processor_ms_per_clip"],
    }


def pack(checkout: Path, folder: Path) -> Times:
    """Milliseconds of the processor per clip, by kind of source."""
    out = folder / "pack.json"
    run(checkout, "pack", "--clips", "1", "--rounds", "3", "--out", str(out))
    sources = json.loads(out.read_text())["sources"]
    return {f"{name}, ms": found["pack_ms"] for name, found in sources.items()}


def step(checkout: Path, folder: Path) -> Times:
    """A step of the trainer as a multiple of the bare loop's, which takes turns with it."""
    out = folder / "step.json"
    out.unlink(missing_ok=True)
    options = ("--models", STEP_MODEL, "--processes", "1", "--rounds", "3", "--deepspeed")
    run(checkout, "step", *options, "--out", str(out))
    [found] = json.loads(out.read_text()).values()
    return {
        "trainer over the bare loop": found["trainer_over_bare"]["median"],
        "the same with clips in memory": found["trainer_in_memory_over_bare"]["median"],
    }


MEASUREMENTS: dict[str, Callable[[Path, Path], Times]] = {
    "contrastive": contrastive,
    "feed": feed,
    "pack": pack,
    "step": step,
}


def compare(name: str, other: Path, rounds: int) -> dict[str, Any]:
    """One measurement by both checkouts in turn."""
    taken: list[tuple[Times, Times]] = []
    with tempfile.TemporaryDirectory() as place:
        for turn in range(rounds):
            # Who begins changes, so that neither always meets a warm machine.
            order = (HERE, other) if turn % 2 == 0 else (other, HERE)
            found = {checkout: MEASUREMENTS[name](checkout, Path(place)) for checkout in order}
            taken.append((found[HERE], found[other]))
            print(name, turn, json.dumps(taken[-1]), flush=True)
    result = {}
    for what in taken[0][0]:
        ratios = sorted(ours[what] / theirs[what] for ours, theirs in taken)
        result[what] = {
            "here": round(statistics.median(ours[what] for ours, _ in taken), 4),
            "other": round(statistics.median(theirs[what] for _, theirs in taken), 4),
            "here_over_other": {
                "median": round(statistics.median(ratios), 3),
                "low": round(ratios[0], 3),
                "high": round(ratios[-1], 3),
            },
        }
    return result


def commit_of(checkout: Path) -> str:
    """The commit of a checkout, marked where it has changes that are not committed."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("other", type=Path, help="the other checkout")
    parser.add_argument("--only", nargs="+", choices=MEASUREMENTS, default=list(MEASUREMENTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/against.json")
    options = parser.parse_args()
    other = options.other.resolve()
    report = json.loads(options.out.read_text()) if options.out.is_file() else {}
    for name in options.only:
        report[name] = {
            "here": commit_of(HERE),
            "other": commit_of(other),
            "rounds": options.rounds,
            "found": compare(name, other, options.rounds),
        }
        print(json.dumps(report[name], indent=2), flush=True)
        options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
