"""How fast the phantom renders: sweeps of 24 frames at 96x96 per second, on one and on two
processes.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: one process is one core

import argparse
import json
import platform
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from bsou_dist.phantom import PhantomConfig, exam_clips, phantom_patient

CONFIG = PhantomConfig(seed=1, frames=24, size_px=96)


def render_patient(index: int) -> int:
    """Draw one mother, read her labels and render all her sweeps; number of sweeps."""
    return sum(1 for exam in phantom_patient(CONFIG, index).exams for _ in exam_clips(exam, CONFIG))


def sweeps_per_s(processes: int, patients: int) -> float:
    """Rate with the given number of processes, after each has rendered one patient to warm up."""
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        list(pool.map(render_patient, range(2 * processes)))
        start = time.perf_counter()
        sweeps = sum(pool.map(render_patient, range(patients)))
        return sweeps / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results" / "phantom.json"
    )
    parser.add_argument(
        "--patients", type=int, default=24, help="mothers per repeat, six sweeps each (default: 24)"
    )
    parser.add_argument(
        "--repeats", type=int, default=3, help="repeats; the median is told (default: 3)"
    )
    args = parser.parse_args()
    rates = {n: [sweeps_per_s(n, args.patients) for _ in range(args.repeats)] for n in (1, 2)}
    result = {
        "frames": CONFIG.frames,
        "size_px": CONFIG.size_px,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "numpy": np.__version__,
        "sweeps": args.patients * 6,
        "repeats": args.repeats,
        **{
            f"sweeps_per_s_{n}_processes": round(float(np.median(rate)), 1)
            for n, rate in rates.items()
        },
        "all": {str(n): [round(r, 1) for r in rate] for n, rate in rates.items()},
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
