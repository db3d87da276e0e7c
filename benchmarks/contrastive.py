"""Time and extra memory of the contrastive loss, forward and backward: this one, its plain form,
and two libraries.

T = 4 tasks of 4 classes, D = 256, float32, tau = 0.1. Every measurement is a process of its own;
the forms take turns, the median over the rounds counts. pytorch-metric-learning's SupConLoss runs
once per task. lightly has no supervised contrastive loss: its NTXentLoss runs once per task on N/2
pairs of views, which needs the same denominators. Needs both libraries (`pip install
pytorch-metric-learning lightly`); a form stops at the largest N that fits --memory-gb.

    .venv/bin/python benchmarks/contrastive.py

Beside other work: this form of two checkouts in turn, on an idle machine and beside two processes
that compute without end.

    git worktree add /tmp/before COMMIT
    .venv/bin/python benchmarks/contrastive.py --beside-busy-loops /tmp/before --sizes 1024 8192
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import against

TASKS, DIM, CLASSES, TEMPERATURE = 4, 256, 4, 0.1
SIZES = (1024, 2048, 4096, 8192, 16384, 32768, 65536)
BYTES_PER_PAIR = {"bsou-dist": 0, "plain": 40, "pytorch-metric-learning": 80, "lightly": 30}
"""Rough peak, to stop before memory runs out."""


def loss_of(form: str) -> Callable:
    """A loss of embeddings (T, N, D) and labels (T, N)."""
    if form == "bsou-dist":
        from bsou_dist.objective.contrastive import multitask_supcon

        return lambda z, labels: multitask_supcon(z, labels, temperature=TEMPERATURE)
    if form == "plain":
        from bsou_dist.objective.contrastive_reference import reference_multitask_supcon

        return lambda z, labels: reference_multitask_supcon(z, labels, temperature=TEMPERATURE)
    if form == "pytorch-metric-learning":
        from pytorch_metric_learning.losses import SupConLoss

        supcon = SupConLoss(temperature=TEMPERATURE)
        return lambda z, labels: sum(
            supcon(one, label) for one, label in zip(z, labels, strict=True)
        )
    from lightly.loss import NTXentLoss

    nt_xent = NTXentLoss(temperature=TEMPERATURE)
    return lambda z, labels: sum(nt_xent(*one.chunk(2)) for one in z)


def peak_and_current_mb() -> tuple[float, float]:
    """Largest and present resident memory of this process, MB."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return tuple(int(lines[key].split()[0]) / 1e3 for key in ("VmHWM", "VmRSS"))


def measure(form: str, rows: int) -> dict[str, float]:
    """One forward and one backward pass, after a small one to warm up."""
    import torch
    from torch.nn import functional as F

    loss_of_form = loss_of(form)
    generator = torch.Generator().manual_seed(0)

    def inputs(n: int) -> tuple[torch.Tensor, torch.Tensor]:
        z = F.normalize(torch.randn(TASKS, n, DIM, generator=generator), dim=-1).requires_grad_()
        return z, torch.randint(0, CLASSES, (TASKS, n), generator=generator)

    loss_of_form(*inputs(512)).backward()
    z, labels = inputs(rows)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    _, before_mb = peak_and_current_mb()
    began = time.perf_counter()
    loss = loss_of_form(z, labels)
    middle = time.perf_counter()
    loss.backward()
    end = time.perf_counter()
    peak_mb, _ = peak_and_current_mb()
    return {
        "loss": loss.item(),
        "forward_s": middle - began,
        "backward_s": end - middle,
        "extra_mb": peak_mb - before_mb,
    }


def run(form: str, rows: int) -> dict[str, float]:
    """`measure` in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--measure", form, str(rows)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


BUSY_LOOPS = 2
BUSY = Path(__file__).parent / "results/contrastive_beside_busy_loops.json"


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Processes beside this one that compute without end."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def seconds_of(checkout: Path, rows: int) -> float:
    """Forward and backward of a checkout's own form, in a process of its own."""
    printed = against.run(checkout, "contrastive", "--measure", "bsou-dist", str(rows))
    found = json.loads(printed.splitlines()[-1])
    return found["forward_s"] + found["backward_s"]


def beside_busy_loops(other: Path, sizes: Sequence[int], rounds: int) -> dict[str, Any]:
    """Seconds of both checkouts, idle and beside busy loops, all in one run."""
    found: dict[str, Any] = {}
    for rows in sizes:
        taken: dict[str, list[float]] = {}
        for turn in range(rounds):
            # Who begins changes, so that neither always meets a warm machine.
            checkouts = [("here", against.HERE), ("other", other)][:: 1 if turn % 2 == 0 else -1]
            for loops in (0, BUSY_LOOPS):
                with busy_loops(loops):
                    for name, checkout in checkouts:
                        state = "beside busy loops" if loops else "idle"
                        taken.setdefault(f"{name}, {state}, s", []).append(
                            seconds_of(checkout, rows)
                        )
            latest = {name: round(times[-1], 3) for name, times in taken.items()}
            print(rows, turn, latest, flush=True)
        median = {name: statistics.median(times) for name, times in taken.items()}
        found[str(rows)] = {
            **{name: round(value, 4) for name, value in median.items()},
            "here over other, idle": round(median["here, idle, s"] / median["other, idle, s"], 2),
            "here beside busy loops over idle": round(
                median["here, beside busy loops, s"] / median["here, idle, s"], 2
            ),
            "other beside busy loops over idle": round(
                median["other, beside busy loops, s"] / median["other, idle, s"], 2
            ),
        }
    return {
        "here": against.commit_of(against.HERE),
        "other": against.commit_of(other),
        "cores": os.cpu_count(),
        "busy_loops": BUSY_LOOPS,
        "rounds": rounds,
        "rows": found,
    }


def plot(results: dict[str, dict[str, dict[str, float]]], path: Path) -> None:
    """Time and memory against N, a line per form."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    shown = (("total_s", "forward and backward (s)"), ("extra_mb", "extra memory (MB)"))
    for axis, (key, label) in zip(axes, shown, strict=True):
        for form, sizes in results.items():
            axis.loglog(
                [int(n) for n in sizes],
                [row[key] for row in sizes.values()],
                marker="o",
                label=form,
            )
        axis.set(xlabel="N (rows of the global batch)", ylabel=label)
        axis.grid(alpha=0.3, which="both")
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure every form at every size, print and write the medians and their plot."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--measure", nargs=2, metavar=("FORM", "N"), help=argparse.SUPPRESS)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    parser.add_argument("--beside-busy-loops", type=Path, metavar="OTHER_CHECKOUT")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory-gb", type=float, default=6.0)
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results/contrastive.json"
    )
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure[0], int(options.measure[1]))))
        return
    if options.beside_busy_loops:
        other = options.beside_busy_loops.resolve()
        busy = beside_busy_loops(other, options.sizes, options.rounds)
        BUSY.write_text(json.dumps(busy, indent=2) + "\n")
        print(json.dumps(busy, indent=2))
        return
    results: dict[str, dict[str, dict[str, float]]] = {form: {} for form in BYTES_PER_PAIR}
    for rows in options.sizes:
        fitting = [
            form
            for form, size in BYTES_PER_PAIR.items()
            if size * rows**2 < options.memory_gb * 1e9
        ]
        rounds = 1 if rows > 16384 else options.rounds
        taken = [{form: run(form, rows) for form in fitting} for _ in range(rounds)]
        for form in fitting:
            of_form = [one[form] for one in taken]
            row = {key: statistics.median(one[key] for one in of_form) for key in of_form[0]}
            row["total_s"] = statistics.median(
                one["forward_s"] + one["backward_s"] for one in of_form
            )
            results[form][str(rows)] = {key: round(value, 4) for key, value in row.items()}
            print(rows, form, results[form][str(rows)], flush=True)
    ours = results["bsou-dist"]
    for form in ("plain", "pytorch-metric-learning"):  # the same loss; lightly's is another one
        for rows, row in results[form].items():
            if abs(row["loss"] - ours[rows]["loss"]) > 1e-4 * abs(row["loss"]):
                raise SystemExit(
                    f"{form} gives {row['loss']} at N = {rows}, bsou-dist {ours[rows]['loss']}"
                )
    ratios = {
        form: {
            n: {
                "time": round(row["total_s"] / ours[n]["total_s"], 2),
                "memory": round(row["extra_mb"] / ours[n]["extra_mb"], 1),
            }
            for n, row in sizes.items()
        }
        for form, sizes in results.items()
        if form != "bsou-dist"
    }
    report = {
        "tasks": TASKS,
        "dim": DIM,
        "cores": os.cpu_count(),
        "rounds": options.rounds,
        "versions": {
            name: version(name) for name in ("torch", "pytorch-metric-learning", "lightly")
        },
        "results": results,
        "peer_over_ours": ratios,
    }
    options.out.write_text(json.dumps(report, indent=2) + "\n")
    plot(results, options.out.with_suffix(".png"))
    print(json.dumps(ratios, indent=2))


if __name__ == "__main__":
    main()
