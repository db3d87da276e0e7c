"""A stage 2 that starts from the stage 1 of another run is the stage 2 that run would have had."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pandas as pd
import pytest

from bsou_dist.cli import main

PRETRAIN = {"global_batch": 12, "epochs": 1, "optim": {"learning_rate": 1e-3}}
FINETUNE = {"tasks": ["sweep", "placenta"], "encoder": "frozen", "epochs": 1, "global_batch": 8}


@pytest.fixture
def first(write_config, tmp_path) -> Path:
    assert main(["train", str(write_config(pretrain=PRETRAIN, finetune=None)), "name=first"]) == 0
    return tmp_path / "runs/first"


def test_it_is_the_same_stage_2(first, write_config, tmp_path, capsys):
    assert (
        main(["train", str(write_config(pretrain=PRETRAIN, finetune=FINETUNE)), "name=whole"]) == 0
    )
    config = str(write_config(pretrain=None, finetune=FINETUNE, stage1=str(first)))
    for task in ("sweep", "placenta"):
        assert main(["train", config, f"name=tune-{task}", f"finetune.tasks=[{task}]"]) == 0
    runs = tmp_path / "runs"
    whole = pd.read_parquet(runs / "whole/predictions.parquet")
    apart = [
        pd.read_parquet(runs / f"tune-{task}/predictions.parquet") for task in ("sweep", "placenta")
    ]
    pd.testing.assert_frame_equal(pd.concat(apart, ignore_index=True), whole)
    assert "MTSCon" in (runs / "tune-sweep/table.txt").read_text()
    assert [
        path.name for path in first.rglob("*.parquet")
    ] == []  # two tunings at once would both write there
    with sqlite3.connect(runs / "mlflow.db") as database:
        names = dict(database.execute("select run_uuid, name from runs"))
        parents = {
            names[child]: names[parent]
            for child, parent in database.execute(
                "select run_uuid, value from tags where key = 'mlflow.parentRunId'"
            )
        }
    assert (
        parents["tune-sweep/main/sweep"]
        == parents["tune-placenta/main/placenta"]
        == "first/pretrain"
    )
    capsys.readouterr()
    assert main(["compare", "bsou", "--output", str(runs)]) == 0
    assert "MTSCon" in capsys.readouterr().out


def test_what_does_not_fit_is_refused(first, write_config, tmp_path, capsys):
    config = str(write_config(pretrain=None, finetune=FINETUNE, stage1=str(first)))
    for change, message in (
        ("feed.frames=6", "feed.frames is 6, but the stage 1 in"),
        ("encoder.norm=batch", "was trained with"),
        (
            "data.splits.seed=5",
            "a run on other data: its training patients may be test patients here",
        ),
        (f"stage1={tmp_path}", "is not the folder of a run"),
        ("pretrain={}", "give that section, and no 'pretrain' section"),
        ("finetune=null", "nothing to do"),
    ):
        assert main(["train", config, "name=tune", change]) == 2, change
        assert message in capsys.readouterr().err, change
    (first / "pretrain/stage.json").unlink()
    assert main(["train", config, "name=tune"]) == 2
    assert "where pretrain is not finished" in capsys.readouterr().err
    assert not (tmp_path / "runs/tune").exists()
