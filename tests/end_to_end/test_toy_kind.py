"""A kind of task is a file in each room that knows about kinds, and a line in that room's mapping;
nothing else of the package is touched.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from toy_kind.evaluation import ScoreEvaluation
from toy_kind.head import ScoreHead
from toy_kind.loss import ScoreLoss
from toy_kind.report import ScoreReport
from toy_kind.task import ScoreTask

from bsou_dist.cli import main
from bsou_dist.evaluation.kinds.make import EVALUATIONS
from bsou_dist.model.heads.make import HEADS
from bsou_dist.objective.kinds.make import LOSSES
from bsou_dist.report.kinds.make import REPORTS
from bsou_dist.tasks.kinds.make import KINDS

ROOMS = {
    "tasks": (KINDS, ScoreTask),
    "model": (HEADS, ScoreHead),
    "objective": (LOSSES, ScoreLoss),
    "evaluation": (EVALUATIONS, ScoreEvaluation()),
    "report": (REPORTS, ScoreReport()),
}
"""The mapping of each room that knows about kinds, and the toy kind's part of it."""

SCORE = {"name": "image_score", "kind": "score", "label": "image_score", "best": 10}


def test_every_room_knows_the_same_kinds() -> None:
    kinds = [list(mapping) for mapping, _ in ROOMS.values()]
    assert all(names == kinds[0] for names in kinds)


def test_a_new_kind_is_trained_and_tabled(
    corpus: Path,
    write_config: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for mapping, part in ROOMS.values():
        monkeypatch.setitem(mapping, "score", part)
    folder = Path(__file__).parents[1] / "support/toy_kind"
    files = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert len(files) == len(ROOMS), "at most one file per room"

    table = pd.read_csv(corpus / "cohort/cohort.csv")
    table["image_score"] = table["dvp_cm"].clip(0, 10)
    table.to_csv(tmp_path / "cohort.csv", index=False)
    config = write_config(tasks={"set": None, "add": [SCORE]}, finetune={"epochs": 1})
    cohort = f"data.cohort={tmp_path}/cohort.csv"
    names = ["pretrain.tasks=[image_score]", "finetune.tasks=[image_score]"]
    assert main(["train", str(config), cohort, *names]) == 0
    said = capsys.readouterr().out
    assert "image_score (of 10) ↓" in said
    assert "Scores: mean absolute error / bias." in said
    assert "Classes:" not in said
    records = pd.read_csv(tmp_path / "runs/small/records.csv")
    assert set(records["metric"]) == {
        "mae",
        "bias",
        "baseline_mae",
        "intensity_mae",
        "intensity_bias",
        "baseline_bias",
        "margin_mae",
        "margin_bias",
    }

    table.loc[3, "image_score"] = 11
    table.to_csv(tmp_path / "cohort.csv", index=False)
    assert main(["train", str(config), cohort, *names, "name=other"]) == 2
    assert "image_score = '11.0': task 'image_score' allows a number from 0 to 10 or empty" in (
        capsys.readouterr().err
    )
