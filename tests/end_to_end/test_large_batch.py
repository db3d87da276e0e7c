"""The configs for large batches pass the check that stands before a job."""

from __future__ import annotations

from pathlib import Path

import pytest

from bsou_dist.cli import main
from bsou_dist.common.settings import read_settings
from bsou_dist.experiment.config import RunConfig

CONFIGS = Path(__file__).parents[2] / "configs"
BATCH = 16
GPUS = {"mtscon-large-batch": (32, 4096, 6.788e-4), "mtscon-128-gpus": (128, 16384, 3.536e-3)}


@pytest.mark.parametrize("name", GPUS)
def test_it_can_be_begun_on_gpus_that_are_not_here(name, corpus, tmp_path, capsys):
    gpus, global_batch, rate = GPUS[name]
    path = CONFIGS / f"{name}.yaml"
    stage = read_settings(RunConfig, path, []).pretrain
    assert stage is not None
    assert stage.global_batch == global_batch
    assert stage.global_batch / gpus == 128
    assert stage.optim.scaled_to(global_batch).learning_rate == pytest.approx(rate, rel=1e-3)
    # All but the number of clips, of which there are not so many here, and the weights' file.
    settings = [
        f"output={tmp_path}",
        f"data.shards={corpus}/shards",
        f"data.cohort={corpus}/cohort/cohort.csv",
        "data.splits.stage1={train: 10, valid: 4}",
        "data.splits.stage2={train: 6, valid: 4, test: 4}",
        f"pretrain.global_batch={BATCH}",
        "encoder.weights=none",
    ]
    arguments = ["train", str(path), "--check", str(BATCH), "--check-device", "cuda", *settings]
    assert main(arguments) == 0, capsys.readouterr().err
