"""A new user's mistakes: one clear message and exit code 2, nothing half written."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bsou_dist.cli import main


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The message of a command that must exit with 2."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    return message


@pytest.fixture
def cohort(corpus: Path, tmp_path: Path) -> Path:
    """A copy of the cohort that may be spoilt."""
    folder = tmp_path / "cohort"
    folder.mkdir()
    shutil.copytree(corpus / "cohort/clips", folder / "clips")
    return Path(shutil.copy(corpus / "cohort/cohort.csv", folder))


def spoil(cohort: Path, line: int, **cells: object) -> None:
    table = pd.read_csv(cohort, dtype=str, keep_default_na=False)
    for column, value in cells.items():
        table.loc[line - 2, column] = str(value)  # line 1 is the heading
    table.to_csv(cohort, index=False)


def test_misspelt_key(write_config, capsys):
    assert "did you mean 'learning_rate'?" in refused(
        capsys, "train", write_config(), "pretrain.optim.learnig_rate=1"
    )


def test_keys_that_have_moved(write_config, capsys):
    moved = ["pretrain.learning_rate=1e-4", "finetune.plateau={patience: 3}"]
    message = refused(capsys, "train", write_config(), *moved)
    assert "pretrain: 'learning_rate' is now 'optim.learning_rate'" in message
    assert "finetune: 'plateau' is now 'optim.schedule'" in message


def test_positives_are_a_list_of_conditions(write_config, capsys):
    message = refused(capsys, "train", write_config(), "pretrain.positives=label_and_sweep")
    assert "pretrain.positives: 'label_and_sweep' is now written as a list" in message
    assert "positives: [same_label, same_sweep]" in message
    message = refused(capsys, "train", write_config(), "pretrain.positives=[same_sweep]")
    assert "pretrain.positives: is ['same_sweep']; name same_label" in message


def test_a_probe_and_sharded_weights_do_not_go_together(write_config, capsys):
    zero = ["engine={name: deepspeed, zero_stage: 3}", "pretrain.probe={}"]
    assert "pretrain.probe embeds clips by a whole encoder" in refused(
        capsys, "train", write_config(), *zero
    )


def test_an_optimizer_that_does_not_fit_the_networks_or_the_engine(write_config, capsys):
    groups = "optim={learning_rate: 1e-3, groups: [{match: 'encoder.*', rate: 0.1}]}"
    check = ["train", write_config(), "--check", "1"]
    message = refused(capsys, *check, f"finetune.{groups}")  # which trains heads alone
    assert "no parameter's name matches 'encoder.*'" in message
    message = refused(capsys, *check, f"pretrain.{groups.replace('encoder', 'experts')}")
    assert "no parameter's name matches 'experts.*'" in message
    zero = ["engine={name: deepspeed, zero_stage: 2}", "pretrain.optim.name=lamb"]
    assert "goes by the norm of each tensor" in refused(capsys, *check, *zero)


def test_missing_config(capsys, tmp_path):
    assert "no config at" in refused(capsys, "train", tmp_path / "absent.yaml")


def test_label_outside_its_classes_and_bad_number_are_reported_together(cohort, capsys, tmp_path):
    spoil(cohort, 5, presentation="sideways")
    spoil(cohort, 9, ga_days="9e9")
    message = refused(capsys, "pack", cohort, tmp_path / "shards")
    assert "line 5" in message
    assert "sideways" not in message
    assert "cephalic" in message
    assert "line 9" in message
    assert not (tmp_path / "shards").exists()


def test_missing_clip_file(cohort, capsys, tmp_path):
    spoil(cohort, 3, path="clips/absent.npz")
    message = refused(capsys, "pack", cohort, tmp_path / "shards")
    assert "line 3" in message
    assert "absent.npz" not in message


def test_clips_under_another_folder(cohort, capsys, tmp_path):
    clips = len(pd.read_csv(cohort))
    message = refused(capsys, "pack", cohort, tmp_path / "shards", "--root", tmp_path)
    assert message == (
        f"bsou: none of the {clips} files of the cohort is under {tmp_path}; name the folder that "
        "its "
        "paths are relative to (--root)\n"
    )


def test_folder_for_a_table(cohort, capsys, tmp_path):
    assert f"did you mean {cohort}?" in refused(capsys, "pack", cohort.parent, tmp_path / "shards")


def test_missing_table_and_shards(capsys, tmp_path, write_config):
    assert "absent.csv" in refused(capsys, "pack", tmp_path / "absent.csv", tmp_path / "shards")
    assert "holds no shards" in refused(capsys, "train", write_config(), f"data.shards={tmp_path}")
    assert "not the folder of a run" in refused(capsys, "evaluate", tmp_path)


def test_patient_in_two_splits(cohort, capsys, write_config):
    table = pd.read_csv(cohort).assign(split_stage1="train", split_stage2=np.nan)
    first = table["patient_id"].iloc[0]
    table["split_stage2"] = np.where(table["patient_id"] == first, "test", None)
    table.to_csv(cohort, index=False)
    message = refused(capsys, "train", write_config(), f"data.cohort={cohort}")
    assert first not in message
    assert "split_stage2" in message


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("000000.dcm", b"Dear colleague,\n"),
        ("000000.dcm", b""),
        ("000000.mp4", b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom\0\0\1\0mdat"),
    ],
    ids=["text named .dcm", "zero bytes", "truncated mp4"],
)
def test_a_bad_clip_is_set_aside_and_a_cohort_of_them_refused(
    cohort, capsys, tmp_path, name, content
):
    cohort.with_name(name).write_bytes(content)
    table = (
        pd.read_csv(cohort)
        .iloc[:7]
        .assign(path=lambda rows: ["clips/../" + path for path in rows["path"]])
    )
    table.loc[3, "path"] = name
    table["path"] = table["path"].str.replace("clips/../", "")
    table.to_csv(cohort, index=False)
    assert main(["pack", str(cohort), str(tmp_path / "shards"), "prepare.size_px=48"]) == 0
    rejects = pd.read_csv(tmp_path / "shards.private/rejects.csv")
    assert rejects["path"].tolist() == [name]
    assert rejects["reason"].iloc[0].startswith("unreadable")
    table.iloc[[3]].to_csv(cohort, index=False)
    message = refused(capsys, "pack", cohort, tmp_path / "other")
    assert "every clip was rejected" in message or "unreadable" in message


def test_no_labels_for_a_task(cohort, capsys, write_config):
    pd.read_csv(cohort).assign(placenta=np.nan).to_csv(cohort, index=False)
    message = refused(capsys, "train", write_config(), f"data.cohort={cohort}")
    assert "no labels for task 'placenta'" in message


def test_fewer_clips_than_processes(capsys, write_config):
    message = refused(capsys, "train", write_config(), "pretrain.global_batch=2", "--check", "3")
    assert "a global batch of 2 cannot be shared by 3 processes" in message


def test_batch_larger_than_the_split(capsys, write_config):
    assert "set global_batch to at most" in refused(
        capsys, "train", write_config(), "pretrain.global_batch=5000"
    )


def test_shards_packed_with_another_key(capsys, write_config, tmp_path):
    (tmp_path / "other.key").write_text("ab" * 32)
    message = refused(capsys, "train", write_config(), f"data.pseudonym_key={tmp_path}/other.key")
    assert "is not the key that these shards were packed with" in message


def test_absent_weights(capsys, write_config, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    message = refused(capsys, "train", write_config(), "encoder={name: r3d_18}")
    assert "r3d_18-" in message
    assert "encoder.weights" in message


def test_phantom_settings(capsys, tmp_path):
    message = refused(capsys, "phantom", tmp_path / "cohort", "patiens=3", "size_px=1")
    assert "did you mean 'patients'?" in message
    assert "size_px" in message
    assert not (tmp_path / "cohort").exists()


def test_paths_that_cannot_be_written(capsys, corpus, write_config, tmp_path):
    (tmp_path / "file").write_text("")
    assert f"{tmp_path}/file" in refused(capsys, "train", write_config(), f"output={tmp_path}/file")
    for sheet in ("absent/x.png", "x.foo"):
        assert sheet.split("/")[0] in refused(
            capsys, "inspect", corpus / "shards", "--sheet", tmp_path / sheet
        )
        assert sheet.split("/")[0] in refused(
            capsys, "inspect", corpus / "shards", "--privacy", "--sheet", tmp_path / sheet
        )


@pytest.mark.parametrize("option", ["--check=0", "--check=-2", "--check=x"])
def test_a_number_of_processes_that_is_none(capsys, write_config, option):
    with pytest.raises(SystemExit) as stopped:
        main(["train", str(write_config()), option])
    assert stopped.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("bsou train: argument --check: ")
    assert line.endswith(" is not a whole number from 1; see 'bsou train --help'")


def test_an_unknown_option(capsys, tmp_path):
    for command in (["pack", "a", "b"], ["cohort", "freeze", "a", "b"]):
        with pytest.raises(SystemExit) as stopped:
            main([*command, "--foo"])
        assert stopped.value.code == 2
        name = " ".join(command[:-2])
        assert (
            capsys.readouterr().err
            == f"bsou {name}: unrecognized arguments: --foo; see 'bsou {name} --help'\n"
        )
