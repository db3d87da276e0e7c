"""Does the demo's config learn from the pictures, and only from them?

Trains it twice on the demo's shards: with the true labels, and with labels permuted across patients
(sweep tags across clips), which nothing but a leak could predict. Needs `make demo` first.

    .venv/bin/python benchmarks/learns.py
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[1]
PATIENT_LABELS = ["ga_days", "presentation", "placenta", "dvp_cm", "fetuses"]
IN_DOMAIN = {
    "ga": ("exam", "mae"),
    "presentation": ("exam", "accuracy"),
    "placenta": ("exam", "accuracy"),
    "sweep": ("clip", "accuracy"),
}


def permuted(cohort: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Every patient gets all labels of another one, and every clip the sweep tag of any other."""
    random = np.random.default_rng(seed)
    labels = cohort.groupby("patient_id", sort=True)[PATIENT_LABELS].first()
    labels[:] = labels.to_numpy()[random.permutation(len(labels))]
    table = cohort.drop(columns=PATIENT_LABELS).join(labels, on="patient_id")
    table["sweep"] = random.permutation(table["sweep"].to_numpy())
    return table.drop(columns="tag_raw")  # it would state the sweep


def train(demo: Path, cohort: Path, output: Path, overrides: list[str]) -> pd.DataFrame:
    """Records of a run of the demo's config on two processes."""
    command = [
        str(ROOT / "launch/torchrun.sh"),
        str(ROOT / "configs/demo.yaml"),
        f"data.shards={demo.resolve()}/shards",
        f"data.cohort={cohort}",
        f"output={output}",
        "finetune.tasks=[ga, presentation, placenta, sweep]",
        *overrides,
    ]
    subprocess.run(
        command,
        check=True,
        env=os.environ | {"NPROC": "2", "PYTHON": sys.executable},
        stdout=sys.stderr,
    )
    return pd.read_csv(output / "mtscon/records.csv")


def main() -> None:
    """Train twice, print and write the margins over the majority or mean predictor."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--demo", type=Path, default=ROOT / "demo")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/learns.json")
    parser.add_argument("overrides", nargs="*", metavar="key.path=value")
    options = parser.parse_args()
    result: dict[str, object] = {
        "command": "benchmarks/learns.py",
        "note": "phantom data: no clinical finding",
    }
    with tempfile.TemporaryDirectory() as folder:
        true = options.demo.resolve() / "cohort/cohort.csv"
        shuffled = Path(folder) / "permuted.csv"
        permuted(pd.read_csv(true), seed=1).to_csv(shuffled, index=False)
        for name, cohort in (("true labels", true), ("permuted labels", shuffled)):
            began = time.perf_counter()
            records = train(options.demo, cohort, Path(folder) / name.split()[0], options.overrides)
            rows = records.set_index(["task", "level", "metric"])
            result[name] = {
                "wall_s": round(time.perf_counter() - began, 1),
                "tasks": {
                    task: {
                        metric: round(rows.loc[(task, level, metric), "value"], 4),
                        "baseline": round(
                            rows.loc[(task, level, f"baseline_{metric}"), "value"], 4
                        ),
                        "margin": round(rows.loc[(task, level, f"margin_{metric}"), "value"], 4),
                        "margin_95": [
                            round(rows.loc[(task, level, f"margin_{metric}"), side], 4)
                            for side in ("low", "high")
                        ],
                        "n": int(rows.loc[(task, level, metric), "n"]),
                    }
                    for task, (level, metric) in IN_DOMAIN.items()
                },
            }
    print(json.dumps(result, indent=2))
    options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
