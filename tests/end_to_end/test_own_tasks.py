"""Tasks of one's own, from a column of the cohort table to the comparison, without a line of code:
what docs/tasks.md shows.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from bsou_dist.cli import main

DOCUMENT = Path(__file__).parents[2] / "docs/tasks.md"


def documented_tasks() -> dict:
    """The first YAML block of the document: a user copies it."""
    [block, *_] = re.findall(r"```yaml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    return yaml.safe_load(block)["tasks"]


@pytest.fixture(scope="module")
def own_cohort(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The phantom's cohort with two columns more, a label per exam and one per clip."""
    table = pd.read_csv(corpus / "cohort/cohort.csv")
    exams = pd.factorize(table["study_id"].astype(str) + table["device"].astype(str))[0]
    table["fhr_class"] = np.array(["low", "normal", "high"])[exams % 3]
    table["efw_g"] = (0.5 * table["ga_days"] ** 1.6).round()
    table.loc[::9, "efw_g"] = np.nan
    path = tmp_path_factory.mktemp("own") / "cohort.csv"
    table.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def trained(
    own_cohort: Path, small_config: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a run that pretrained on both tasks and tuned both."""
    folder = tmp_path_factory.mktemp("trained")
    config = small_config(
        folder,
        tasks=documented_tasks(),
        pretrain={
            "tasks": ["fhr_class", "efw_g", "placenta"],
            "global_batch": 12,
            "epochs": 1,
        },
        finetune={
            "tasks": ["fhr_class", "efw_g"],
            "encoder": "frozen",
            "epochs": 1,
            "global_batch": 8,
        },
    )
    assert main(["train", str(config), f"data.cohort={own_cohort}"]) == 0
    return folder / "runs/small"


def test_the_documented_tasks_are_those_of_the_form() -> None:
    fields = {task["name"]: task for task in documented_tasks()["add"]}
    assert fields["fhr_class"] == {
        "name": "fhr_class",
        "kind": "classification",
        "level": "exam",
        "label": "fhr_class",
        "classes": ["low", "normal", "high"],
    }
    assert fields["efw_g"] == {
        "name": "efw_g",
        "kind": "regression",
        "level": "clip",
        "label": "efw_g",
        "unit": "g",
        "needs_scale": True,
    }


def test_they_are_packed(own_cohort: Path, corpus: Path, tmp_path: Path) -> None:
    some = tmp_path / "cohort.csv"
    pd.read_csv(own_cohort).head(12).to_csv(some, index=False)
    shards = tmp_path / "shards"
    arguments = ["--root", str(corpus / "cohort"), "prepare.size_px=48"]
    assert main(["pack", str(some), str(shards), *arguments]) == 0
    assert main(["verify", str(shards)]) == 0


def test_their_labels_are_counted(
    own_cohort: Path,
    corpus: Path,
    trained: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    sheet = ["--sheet", str(tmp_path / "sheet.png")]
    tasks = ["--tasks", str(trained / "run.yaml")]
    cohort = ["--cohort", str(own_cohort)]
    assert main(["inspect", str(corpus / "shards"), *cohort, *tasks, *sheet]) == 0
    said = capsys.readouterr().out
    assert re.search(r"by label fhr_class:\n  low +\d+\n  normal +\d+\n  high +\d+\n", said)
    assert re.search(r"label efw_g: \d+ known, mean [\d.]+, [\d.]+ to [\d.]+ g", said)


def test_they_are_evaluated_tabled_and_reported(trained: Path) -> None:
    table = (trained / "table.txt").read_text()
    assert re.match(r"Patients: main\n +Other tasks\n", table)
    assert re.search(r"\nmethod +fhr_class \(%\) ↑ +efw_g \(g\) ↓\n", table)
    records = pd.read_csv(trained / "records.csv")
    levels = records.groupby("task")["level"].unique().map(sorted).to_dict()
    assert levels == {"fhr_class": ["exam"], "efw_g": ["clip", "exam"]}
    page = (trained / "report.html").read_text()
    assert "<h2>fhr_class</h2>" in page
    assert "<h2>efw_g</h2>" in page
    predictions = pd.read_parquet(trained / "predictions.parquet")
    of_weight = predictions[predictions["task"].eq("efw_g") & predictions["split"].eq("train")]
    assert of_weight["label"].isna().any(), "an empty cell is a missing label"
    assert main(["evaluate", str(trained)]) == 0


def test_they_are_compared_from_the_tracker_alone(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", "bsou", "--output", str(trained.parent)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"\nmethod +fhr_class \(%\) ↑ +efw_g \(g\) ↓\n", said)


def test_a_length_is_missing_where_the_scale_is_unknown(
    own_cohort: Path, corpus: Path, trained: Path
) -> None:
    from dataclasses import replace

    from bsou_dist.experiment.corpus import load_corpus
    from bsou_dist.experiment.record import read_run

    config = read_run(trained)
    tasks = config.used_tasks
    found = load_corpus(config.data, list(tasks.values()))
    unscaled = found.manifest.assign(mm_per_px=np.nan)
    blind = replace(found, manifest=unscaled)
    assert not np.isnan(found.labels(tasks["efw_g"])).all()
    assert np.isnan(blind.labels(tasks["efw_g"])).all()
    assert (blind.labels(tasks["fhr_class"]) >= 0).all()


def test_a_run_goes_on_only_with_the_same_labels_and_tasks(
    trained: Path, own_cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = trained.parents[1] / "config.yaml"
    changed = pd.read_csv(own_cohort)
    changed.loc[1, "efw_g"] = 1.0
    changed.to_csv(tmp_path / "cohort.csv", index=False)
    assert main(["train", str(config), f"data.cohort={tmp_path}/cohort.csv"]) == 2
    assert "holds a run on other data" in capsys.readouterr().err
    other_unit = yaml.safe_load(config.read_text())
    other_unit["tasks"]["add"][1]["unit"] = "kg"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(other_unit))
    assert main(["train", str(tmp_path / "config.yaml"), f"data.cohort={own_cohort}"]) == 2
    assert "tasks.efw_g.unit: g there, kg now" in capsys.readouterr().err


def test_a_label_column_that_the_cohort_lacks_is_named(
    trained: Path, own_cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = trained.parents[1] / "config.yaml"
    without = pd.read_csv(own_cohort).rename(columns={"efw_g": "efw"})
    without.to_csv(tmp_path / "cohort.csv", index=False)
    assert main(["train", str(config), f"data.cohort={tmp_path}/cohort.csv", "name=lacks"]) == 2
    said = capsys.readouterr().err
    assert "tasks.add.1.label: task 'efw_g' reads column 'efw_g';" in said
    assert re.search(r"does not have it. It has .*, fhr_class, ", said)
