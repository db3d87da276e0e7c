"""One config in this process, under torchrun, and under the DeepSpeed launcher with ZeRO 3; the
encoder is tuned in stage 2.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from bsou_dist.cli import main
from bsou_dist.predict.prediction_table import read_predictions

ROOT = Path(__file__).parents[2]
ENGINES = {
    "torchrun": ["engine.name=ddp"],
    "deepspeed": ["engine.name=auto", "engine.zero_stage=3"],
}


def trained(run: Path) -> tuple[float, pd.DataFrame]:
    """Best validation loss of stage 1, and the predictions."""
    stage = json.loads((run / "pretrain/stage.json").read_text())
    return stage["best_valid_loss"], read_predictions(run / "predictions.parquet")


@pytest.fixture(scope="module")
def config(small_config, tmp_path_factory) -> Path:
    return small_config(
        tmp_path_factory.mktemp("launched"),
        pretrain={"global_batch": 12, "epochs": 1},
        finetune={"tasks": ["placenta"], "epochs": 1, "encoder": "tuned", "global_batch": 4},
    )


@pytest.fixture(scope="module")
def alone(config) -> tuple[float, pd.DataFrame]:
    """What one process learns."""
    assert main(["train", str(config), "name=alone"]) == 0
    return trained(config.parent / "runs/alone")


@pytest.mark.parametrize(
    "launcher", ["torchrun", pytest.param("deepspeed", marks=pytest.mark.slow)]
)
def test_every_launcher_trains_the_same(launcher, config, alone):
    alone_loss, alone_predictions = alone
    environment = {
        key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE")
    }
    done = subprocess.run(
        [ROOT / f"launch/{launcher}.sh", config, f"name={launcher}", *ENGINES[launcher]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=900,  # only ever waited for where something is broken
        check=False,
        env=environment | {"NPROC": "2", "PYTHON": sys.executable},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("\nmedian / majority") == 1, (
        "the table is printed once, by the first process"
    )
    loss, predictions = trained(config.parent / "runs" / launcher)
    assert loss == pytest.approx(alone_loss, rel=1e-4)
    pd.testing.assert_series_equal(predictions["key"], alone_predictions["key"])
