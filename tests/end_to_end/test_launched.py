"""One config under plain `bsou train`, torchrun and the DeepSpeed launcher, the encoder tuned in
stage 2.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from bsou_dist.predict.prediction_table import read_predictions

ROOT = Path(__file__).parents[2]
COMMANDS = {
    "alone": [sys.executable, "-m", "bsou_dist.cli", "train"],
    "torchrun": [str(ROOT / "launch/torchrun.sh")],
    "deepspeed": [str(ROOT / "launch/deepspeed.sh")],
}


def test_every_launcher_trains_the_same(write_config):
    config = write_config(
        engine={"name": "deepspeed", "zero_stage": 1},
        pretrain={"global_batch": 12, "epochs": 1},
        finetune={"tasks": ["placenta"], "epochs": 1, "encoder": "tuned", "global_batch": 4},
    )
    losses, tested = {}, {}
    environment = {
        key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE")
    }
    for name, command in COMMANDS.items():
        done = subprocess.run(
            [*command, str(config), f"name={name}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env=environment | {"NPROC": "2", "PYTHON": sys.executable},
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.count("majority / mean") == 1, (
            "the table is printed once, by the first process"
        )
        folder = config.parent / "runs" / name
        losses[name] = json.loads((folder / "pretrain/stage.json").read_text())["best_valid_loss"]
        tested[name] = read_predictions(folder / "predictions.parquet")
    assert losses["torchrun"] == pytest.approx(losses["alone"], rel=1e-4)
    assert losses["deepspeed"] == pytest.approx(losses["torchrun"], rel=1e-6)
    for rows in tested.values():
        pd.testing.assert_series_equal(rows["key"], tested["alone"]["key"])
