"""A stage 1 step on a large global batch in one process: whole, and with gradient caching.

MTSCon with four tasks, r3d_small, clips of 8 frames at 32 px, group norm, DDP. Every measurement is
a process of its own. The gradients of the two are compared where the whole step fits --memory-gb.

    .venv/bin/python benchmarks/cached_step.py
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from contrastive import peak_and_current_mb

SIZES, CACHE_ROWS, FRAMES, SIZE_PX, TASKS = (256, 1024, 4096), 64, 8, 32, ("a", "b", "c", "d")
WHOLE_MB_PER_CLIP = 3.0
"""Rough peak of the whole step, to stop before memory runs out."""


def measure(rows: int, cached: bool, gradients: Path) -> dict[str, float]:
    """One step after a warm-up on few clips; leaves the gradients in a file."""
    import math

    import torch

    from bsou_dist.engine.caching import CachedStep
    from bsou_dist.engine.make import EngineConfig, make_engine
    from bsou_dist.engine.optim.config import OptimConfig
    from bsou_dist.engine.processes import start_processes
    from bsou_dist.engine.step import train_step
    from bsou_dist.feed.batch import Batch
    from bsou_dist.model.encoder import EncoderConfig, build_encoder
    from bsou_dist.model.encoders.small_resnet import SMALL
    from bsou_dist.model.network import PretrainNetwork, projection_heads
    from bsou_dist.objective.batch_objectives import MultitaskContrastive

    def batch(rows: int) -> Batch:
        generator = torch.Generator().manual_seed(rows)
        index, there = torch.arange(rows), torch.ones(rows, dtype=torch.bool)
        return Batch(
            clips=torch.randn(rows, 1, FRAMES, SIZE_PX, SIZE_PX, generator=generator),
            slots=there[:, None],
            valid=there,
            labels={name: torch.randint(-1, 4, (rows,), generator=generator) for name in TASKS},
            key=[str(i) for i in range(rows)],
            study=index,
            exam=index,
            subject=index,
            sweep=index,
            index=index,
            views=1,
            epoch=0,
            step=0,
        )

    with start_processes() as processes:
        torch.manual_seed(0)
        encoder = build_encoder(
            EncoderConfig(name=SMALL, weights="none", norm="group"), frames=FRAMES, size_px=SIZE_PX
        )
        network = PretrainNetwork(encoder, projection_heads(list(TASKS), encoder.dim))
        engine = make_engine(
            network, EngineConfig(name="ddp"), OptimConfig(learning_rate=1e-30), processes
        )
        objective = MultitaskContrastive(list(TASKS), temperature=0.1)

        def step(rows: int) -> float:
            way = CachedStep(CACHE_ROWS, math.ceil(rows / CACHE_ROWS)) if cached else None
            return train_step(engine, ready[rows], objective, seed=0, rank=0, cached=way).loss

        ready = {number: batch(number) for number in (CACHE_ROWS, rows)}
        step(CACHE_ROWS)
        engine.optimizer.state.clear()
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        _, before_mb = peak_and_current_mb()
        began = time.perf_counter()
        loss = step(rows)
        taken_s = time.perf_counter() - began
        peak_mb, _ = peak_and_current_mb()
        # After one step from nothing Adam's first moment is a tenth of the gradient.
        torch.save({name: state["exp_avg"] for name, state in engine.moments().items()}, gradients)
    return {
        "loss": loss,
        "s": taken_s,
        "clips_per_s": rows / taken_s,
        "extra_mb": peak_mb - before_mb,
    }


def main() -> None:
    """Measure, compare, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--measure", nargs=3, metavar=("ROWS", "WAY", "FILE"), help=argparse.SUPPRESS
    )
    parser.add_argument("--memory-gb", type=float, default=8.0)
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results/cached_step.json"
    )
    options = parser.parse_args()
    if options.measure:
        rows, way, file = options.measure
        print(json.dumps(measure(int(rows), way == "cached", Path(file))))
        return
    import torch

    results: dict[str, dict[str, dict[str, float]]] = {}
    for rows in SIZES:
        of_size: dict[str, dict[str, float]] = {}
        gradients = {}
        for way in ("whole", "cached"):
            if way == "whole" and rows * WHOLE_MB_PER_CLIP > options.memory_gb * 1e3:
                continue
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "gradients.pt"
                done = subprocess.run(
                    [sys.executable, __file__, "--measure", str(rows), way, str(file)],
                    capture_output=True,
                    text=True,
                    check=True,
                )
                of_size[way] = {
                    key: round(value, 4) for key, value in json.loads(done.stdout).items()
                }
                gradients[way] = torch.load(file, weights_only=True)
        if "whole" in gradients:
            differs = max(
                ((gradients["cached"][name] - value).norm() / value.norm()).item()
                for name, value in gradients["whole"].items()
            )
            of_size["cached"] |= {
                "gradient_differs_by": float(f"{differs:.1e}"),
                "time_over_whole": round(of_size["cached"]["s"] / of_size["whole"]["s"], 2),
                "memory_over_whole": round(
                    of_size["cached"]["extra_mb"] / of_size["whole"]["extra_mb"], 3
                ),
            }
        results[str(rows)] = of_size
        print(rows, json.dumps(of_size), flush=True)
    options.out.write_text(
        json.dumps({"cache_rows": CACHE_ROWS, "results": results}, indent=2) + "\n"
    )


if __name__ == "__main__":
    main()
