"""A run from config to table, on real clips too, and what it leaves behind."""

from __future__ import annotations

import gzip
import json
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
import torch
from hostile_shards import spoil, write_rows
from job import Job
from p1_tasks import TASKS
from pydicom.data import get_testdata_file

from bsou_dist.cli import main
from bsou_dist.common.settings import read_settings
from bsou_dist.engine.checkpoint import Checkpoints, load_checkpoint
from bsou_dist.evaluation.aggregate import is_for_calibration
from bsou_dist.experiment.config import RunConfig
from bsou_dist.experiment.corpus import load_corpus
from bsou_dist.experiment.finetune import selection_set
from bsou_dist.feed.dataset import ClipSet
from bsou_dist.predict.prediction_table import read_predictions
from bsou_dist.shards.manifest import read_manifest
from bsou_dist.tracking.delivery import read_spool


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory) -> Path:
    """Folder of a finished run with all sets of patients."""
    folder = tmp_path_factory.mktemp("run")
    config = folder / "config.yaml"
    config.write_text(f"""
name: small
output: {folder}/runs
data: {{shards: {corpus}/shards, cohort: {corpus}/cohort/cohort.csv, phantom: true,
       splits: {{stage1: {{train: 10, valid: 4}}, stage2: {{train: 6, valid: 4, test: 4}}}}}}
feed: {{frames: 4, size_px: 32}}
encoder: {{name: r3d_small, weights: none, norm: group}}
engine: {{name: ddp}}
tracking: {{experiment: small}}
pretrain: {{global_batch: 12, epochs: 2, optim: {{learning_rate: 1.0e-3}}}}
finetune: {{tasks: [ga, placenta, multiple], sets: [main, handheld], encoder: frozen, epochs: 2,
           global_batch: 8}}
""")
    assert main(["train", str(config), "--profile", "1"]) == 0
    return folder / "runs/small"


def test_predictions_cover_every_test_unit_once(run, corpus):
    predictions = read_predictions(run / "predictions.parquet")
    assert set(predictions["task"]) == {"ga", "placenta", "multiple"}
    assert set(predictions["set"]) == {"main", "handheld"}
    assert not predictions.duplicated(["task", "set", "key"]).any()
    test = predictions[(predictions["split"] == "test") & (predictions["set"] == "main")]
    exams = {task: rows["exam"].nunique() for task, rows in test.groupby("task")}
    assert exams["ga"] == exams["placenta"] == exams["multiple"]
    clips = pd.read_parquet(corpus / "shards/manifest.parquet").set_index("key")
    assert set(test.loc[test["task"] == "ga", "key"]) == set(
        clips.index[clips["exam"].isin(test["exam"])]
    )
    assert test["variance"].notna().equals(test["task"] == "ga")
    patients = {split: set(rows["patient"]) for split, rows in predictions.groupby("split")}
    assert not patients["test"] & (patients["train"] | patients["valid"])


def test_intensity_alone_predicts_the_same_units_and_its_features_are_kept(run):
    for job in (run / "finetune").iterdir():
        predictions = read_predictions(job / "predictions.parquet")
        found = read_predictions(job / "intensity_only.parquet")
        assert set(found["key"]) == set(predictions["key"])
        assert found["prediction"].notna().all()
    [kept] = (run.parent / ".intensity").iterdir()
    assert kept.suffix == ".parquet"


def test_evaluate_and_compare_print_the_table_of_the_run(run, capsys):
    table = (run / "table.txt").read_text()
    assert "\nintensity only" in table
    assert "MTSCon" in table
    assert "median / majority" in table
    assert "support no clinical finding" in table
    (run / "table.txt").unlink()
    capsys.readouterr()
    assert main(["evaluate", str(run)]) == 0
    assert capsys.readouterr().out == (run / "table.txt").read_text() == table
    assert main(["compare", "small", "--output", str(run.parent)]) == 0
    assert capsys.readouterr().out.startswith(table.rstrip())  # from MLflow alone


def test_power_is_planned_from_a_run(run, capsys):
    capsys.readouterr()
    assert main(["power", str(run), "--task", "placenta", "--difference", "0.2"]) in (0, 2)
    said = capsys.readouterr()
    # The handful of test patients here may be too few of a class.
    assert "patients_80" in said.out or "5 patients of each class" in said.err
    assert main(["power", str(run), "--task", "dvp"]) == 2
    assert "no predictions of task 'dvp'; there are those of ga" in capsys.readouterr().err


def test_who_chooses_the_checkpoint_does_not_calibrate(corpus):
    manifest = read_manifest(corpus / "shards")
    labels = {"ga": np.arange(len(manifest), dtype=np.float32)}
    valid = ClipSet(corpus / "shards", manifest, labels)
    chosen = selection_set(TASKS["ga"], valid)
    calibrates = is_for_calibration(manifest["patient"])
    assert 0 < calibrates.sum() < len(manifest)
    assert chosen.key == manifest.loc[~calibrates, "key"].tolist()
    np.testing.assert_array_equal(chosen.labels["ga"], labels["ga"][~calibrates])
    # A class of an exam is not recalibrated; and somebody has to choose.
    assert selection_set(TASKS["placenta"], valid) is valid
    labels["ga"][~calibrates] = np.nan
    assert selection_set(TASKS["ga"], valid) is valid


def test_a_run_is_sent_again_to_a_store_that_missed_it(run, tmp_path, capsys):
    copy = Path(shutil.copytree(run, tmp_path / "elsewhere/small"))
    assert main(["resend", str(copy)]) == 0
    capsys.readouterr()
    assert main(["compare", "small", "--output", str(copy.parent)]) == 0
    assert capsys.readouterr().out.startswith((run / "table.txt").read_text().rstrip())


def test_a_profile_lies_in_the_stages_folder_and_in_the_tracker(run):
    trace = json.loads(gzip.decompress((run / "pretrain/profile.json.gz").read_bytes()))
    assert any("conv3d" in event.get("name", "") for event in trace["traceEvents"])
    events = read_spool(run / "tracking.jsonl")
    sent = [event["path"] for event in events if event["event"] == "artifact"]
    assert "pretrain/profile.json.gz" in sent


def test_stage_2_runs_are_children_of_stage_1(run):
    with sqlite3.connect(run.parent / "mlflow.db") as database:
        names = dict(database.execute("select run_uuid, name from runs"))
        parents = dict(
            database.execute("select run_uuid, value from tags where key = 'mlflow.parentRunId'")
        )
    assert sorted(names.values()) == sorted(
        f"small/{name}"
        for name in (
            "pretrain",
            "main/ga",
            "main/placenta",
            "main/multiple",
            "handheld/ga",
            "handheld/placenta",
            "handheld/multiple",
        )
    )
    assert {names[parent] for parent in parents.values()} == {"small/pretrain"}
    assert len(parents) == 6


def test_the_same_command_again_changes_nothing_and_another_config_is_refused(run, capsys):
    config = run.parents[1] / "config.yaml"
    before = {path: path.read_bytes() for path in run.rglob("*.pt")}
    assert main(["train", str(config)]) == 0
    assert {path: path.read_bytes() for path in run.rglob("*.pt")} == before
    assert main(["train", str(config), "pretrain.temperature=0.5"]) == 2
    assert "pretrain.temperature: 0.1 there, 0.5 now" in capsys.readouterr().err


def test_a_run_stopped_between_epochs_ends_with_the_same_weights(run, tmp_path):
    """Also after the schedule has lowered the learning rate."""
    config = run.parents[1] / "config.yaml"
    # So high a learning rate that the validation loss does not fall every time.
    settings = [
        "finetune=null",
        "engine={name: deepspeed, zero_stage: 1}",
        "pretrain.optim.learning_rate=0.01",
        "pretrain.optim.scale_rate=linear",
        "pretrain.optim.base_batch=6",
        "pretrain.optim.schedule={patience: 0, factor: 0.1}",
        "pretrain.optim.freeze=[{match: 'encoder.features.0.*', epochs: 3}]",
        "pretrain.optim.ema=0.9",
    ]
    ends = []
    for name, stops in (("straight", [4]), ("stopped", [2, 4])):
        for epochs in stops:
            # A process of its own: DeepSpeed does not outlive the process group it was begun in.
            arguments = [f"output={tmp_path}", f"name={name}", f"pretrain.epochs={epochs}"]
            with Job(config, *settings, *arguments) as job:
                assert job.codes() == [0], job.said()
                assert "learning rate 0.02, which is 0.01 for 6 scaled to a" in job.said(0)
            if epochs < 4:  # as if four had been asked for, and it had been stopped after two
                path = tmp_path / name / "run.yaml"
                path.write_text(path.read_text().replace("epochs: 2", "epochs: 4"))
                (tmp_path / name / "pretrain/stage.json").unlink()
        ends.append(load_checkpoint(Checkpoints(tmp_path / name / "pretrain", keep=2).steps()[0]))
    straight, stopped = ends
    assert straight.schedule == stopped.schedule
    assert straight.schedule["drops"] > 0
    assert all(torch.equal(stopped.network[key], value) for key, value in straight.network.items())
    for key, value in straight.averages.items():
        assert torch.equal(stopped.averages[key], value)
    assert straight.best_loss == stopped.best_loss
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        names = [
            name
            for (name,) in database.execute(
                "select name from runs where status = 'FINISHED' order by name"
            )
        ]
    assert names == ["stopped/pretrain", "straight/pretrain"]  # the stopped one was gone on with


def test_a_run_is_not_continued_on_other_labels(run, corpus, tmp_path, capsys):
    """Who is in which split may depend on them, so that test patients could have been trained
    on.
    """
    changed = tmp_path / "cohort.csv"
    table = pd.read_csv(corpus / "cohort/cohort.csv")
    table.loc[table["exam_id"] == table["exam_id"][0], "bmi"] = 25.5
    table.to_csv(changed, index=False)
    assert main(["train", str(run.parents[1] / "config.yaml"), f"data.cohort={changed}"]) == 2
    assert "holds a run on other data" in capsys.readouterr().err


def test_a_damaged_clip_is_left_out_and_reported(corpus, tmp_path, write_config, capsys):
    shards = Path(shutil.copytree(corpus / "shards", tmp_path / "shards"))
    shutil.copytree(corpus / "shards.private", tmp_path / "shards.private")
    config = write_config(finetune={"tasks": ["sweep"], "epochs": 1, "encoder": "frozen"})
    data = load_corpus(read_settings(RunConfig, config, [f"data.shards={shards}"]).data)
    row = data.manifest.iloc[data.rows("split_stage1", "train")[0]]
    with (shards / row["shard"]).open("r+b") as file:
        file.seek(row["offset"])
        file.write(b"\0" * row["size"])
    assert main(["train", str(config), f"data.shards={shards}", "pretrain.epochs=1"]) == 0
    assert pd.read_csv(tmp_path / "runs/small/quarantine-0.csv")["key"].tolist() == [row["key"]]
    assert "note: 1 clips could not be decoded" in capsys.readouterr().err


def test_a_clinical_clip_is_packed_and_embedded_by_a_trained_run(run, tmp_path):
    """pydicom's own 30-frame ultrasound DICOM; its region leaves the frame, so that its spacing is
    unknown.
    """
    shutil.copy(get_testdata_file("examples_ybr_color.dcm"), tmp_path / "clip.dcm")
    (tmp_path / "cohort.csv").write_text("patient_id,study_id,path\np1,s1,clip.dcm\n")
    shards = tmp_path / "shards"
    assert main(["pack", str(tmp_path / "cohort.csv"), str(shards), "prepare.size_px=48"]) == 0
    manifest = pd.read_parquet(shards / "manifest.parquet")
    assert manifest["frames"].tolist() == [30]
    assert manifest["mm_per_px"].isna().all()
    assert main(["verify", str(shards)]) == 0
    assert main(["embed", str(run), str(shards), str(tmp_path / "out.parquet")]) == 0
    embeddings = pd.read_parquet(tmp_path / "out.parquet")
    assert embeddings["key"].tolist() == manifest["key"].tolist()
    embedding = np.stack(embeddings["embedding"])
    assert embedding.shape == (1, 128)
    assert np.isfinite(embedding).all()
    assert embedding.std() > 0


def test_no_planted_identity_reaches_shards_logs_or_mlflow(tmp_path, capfd, write_config):
    """Names, numbers, birth dates of DICOM headers, and the table's own ids."""
    cohort = tmp_path / "cohort"
    assert (
        main(["phantom", str(cohort), "patients=14", "frames=8", "size_px=48", "balanced=true"])
        == 0
    )
    planted: set[str] = set()
    for number, path in enumerate(sorted(cohort.glob("clips/*.dcm"))):
        dataset = pydicom.dcmread(path)
        dataset.PatientName, dataset.PatientBirthDate = f"Zwetschge^Kunigunde{number}", "19870203"
        dataset.InstitutionName, dataset.AccessionNumber = "Spital Hinterdorf", f"ACC77{number:04d}"
        planted |= {
            str(dataset.PatientName),
            dataset.InstitutionName,
            dataset.AccessionNumber,
            str(dataset.SOPInstanceUID),
            str(dataset.PatientID),
        }
        dataset.save_as(path)
    table = pd.read_csv(cohort / "cohort.csv")
    planted |= {
        "Zwetschge",
        "19870203",
        *table["patient_id"],
        *table["study_id"],
        *table["exam_id"],
        *table["path"],
    }
    shards = tmp_path / "shards"
    assert main(["pack", str(cohort / "cohort.csv"), str(shards), "prepare.size_px=48"]) == 0
    config = write_config(
        output=str(tmp_path / "runs"),
        data={
            "shards": str(shards),
            "cohort": str(cohort / "cohort.csv"),
            "splits": {
                "stage1": {"train": 4, "valid": 2},
                "stage2": {"train": 4, "valid": 2, "test": 2},
            },
        },
        pretrain={"global_batch": 6, "epochs": 1},
        finetune={"tasks": ["placenta"], "epochs": 1, "encoder": "frozen"},
    )
    capfd.readouterr()
    assert main(["train", str(config)]) == 0
    assert main(["inspect", str(shards), "--sheet", str(tmp_path / "runs/sheet.png")]) == 0
    printed = "".join(capfd.readouterr())
    files = [
        path
        for folder in (shards, tmp_path / "runs")
        for path in folder.rglob("*")
        if path.is_file()
    ]
    assert any(path.name == "mlflow.db" for path in files)
    content = b"".join(path.read_bytes() for path in files) + printed.encode()
    found = sorted(value for value in planted if value.encode() in content)
    assert found == []


@pytest.mark.parametrize(
    "kind", ["a list", "too few offsets", "a codec nobody knows", "2^62 frames"]
)
def test_embedding_goes_on_without_hostile_clips_and_says_so(run, corpus, tmp_path, capsys, kind):
    shards = Path(shutil.copytree(corpus / "shards", tmp_path / "shards"))
    manifest = pd.read_parquet(shards / "manifest.parquet")
    shard_of_one = manifest["shard"] == manifest["shard"][0]
    manifest = manifest[shard_of_one].reset_index(drop=True)  # the others would only take time
    write_rows(manifest, shards)
    key = spoil(shards, 1, kind)
    out = tmp_path / "out.parquet"
    assert main(["embed", str(run), str(shards), str(out)]) == 1
    said = capsys.readouterr().err
    assert f"left out: {key}: " in said
    assert "1 clips were left out" in said
    embeddings = pd.read_parquet(out)
    assert embeddings["key"].tolist() == manifest["key"].tolist()
    embedding = np.stack(embeddings["embedding"])
    assert np.isnan(embedding).all(axis=1).tolist() == (manifest["key"] == key).tolist()
    assert np.isfinite(np.delete(embedding, 1, axis=0)).all()
