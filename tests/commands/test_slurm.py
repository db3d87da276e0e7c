"""launch/slurm.py where there is no SLURM: its messages, dry runs, and plans run here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from bsou_dist.cli import main as bsou
from bsou_dist.commands import slurm

STAGE_1 = {"finetune": None, "pretrain": {"global_batch": 12, "epochs": 1}}


class Commands:
    """A `bsou` that takes notes, and fails where it is told to."""

    def __init__(self, **codes: int) -> None:
        self.codes, self.given = codes, list[str]()

    def __call__(self, arguments: Sequence[str]) -> int:
        if "--check" in arguments:
            return 0
        self.given.append(" ".join(arguments))
        return self.codes.get(arguments[0], 0)


@pytest.fixture(autouse=True)
def _no_slurm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def jobs_file(folder: Path, **jobs: dict[str, Any]) -> str:
    path = folder / "jobs.yaml"
    path.write_text(yaml.safe_dump({"jobs": jobs}, sort_keys=False))
    return str(path)


def test_without_slurm_there_is_one_message(
    write_config: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert slurm.main(bsou, [str(write_config(**STAGE_1)), "--gpus-per-node=0"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "this machine has no SLURM" in line
    assert "--local" in line
    assert not (tmp_path / "runs").exists(), "nothing is left behind"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.yaml"], "no config at nowhere.yaml"),
        (["CONFIG", "pretrain.epoch=3"], "did you mean 'epochs'?"),
        (["CONFIG", "pretrain.global_batch=100000"], "global_batch"),
        (["CONFIG", "--nodes=0"], "nodes: Input should be greater than or equal to 1, got 0"),
        (["CONFIG", "--nodes=many"], "nodes: Input should be a valid integer"),
        (["CONFIG", "--env=NCCL_DEBUG"], "--env is 'NCCL_DEBUG'; write it as NAME=VALUE"),
        (["CONFIG", "--nodes=20"], "20"),
        (["CONFIG", "engine.precision=bfloat16"], "on CPU torch gives wrong weight gradients"),
    ],
)
def test_a_mistake_is_told_once_before_anything_is_submitted(
    write_config: Callable[..., Path],
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = str(write_config(**STAGE_1))
    arguments = [path if text == "CONFIG" else text for text in arguments]
    assert slurm.main(bsou, [*arguments, "--gpus-per-node=0", "--dry-run"]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_a_dry_run_prints_the_script(
    write_config: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--nodes", "2", "name=other", "--gpus-per-node=0", "--dry-run"]
    assert slurm.main(bsou, [str(write_config(**STAGE_1)), *arguments]) == 0
    text = capsys.readouterr().out
    assert text.startswith("#!/bin/bash\n")
    assert "#SBATCH --nodes=2\n" in text
    assert f"{tmp_path}/runs/other/slurm/DATE/%j_%t_log.out" in text
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("decoder", ["auto", "dali"])
def test_a_run_for_gpus_is_checked_as_such_where_there_is_none(
    write_config: Callable[..., Path], decoder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With DALI installed, which makes no decoder for a device that is not there."""
    path = str(write_config(feed={"frames": 4, "size_px": 32, "decoder": decoder}))
    precision = "engine.precision=bfloat16"
    assert slurm.main(bsou, [path, precision, "--gpus-per-node=4", "--dry-run"]) == 0
    assert "#SBATCH --gpus-per-node=4\n" in capsys.readouterr().out


def test_local_runs_the_same_command_here(
    write_config: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        slurm.main(
            bsou,
            [
                str(write_config(**STAGE_1)),
                "name=here",
                "--nodes=4",
                "--gpus-per-node=8",
                "--local",
            ],
        )
        == 0
    )
    assert "stage 1 is done" in capsys.readouterr().out
    assert (tmp_path / "runs/here/pretrain/stage.json").is_file()


def test_a_local_experiment_goes_on_past_a_failing_job(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = Commands(embed=1)
    path = jobs_file(
        tmp_path,
        first={"bsou": "inspect {each}", "each": ["a", "b c"]},
        broken={"bsou": "embed x", "after": "first"},
        left_out={"bsou": "verify x", "after": ["broken"]},
        table={"bsou": "compare 'my experiment'", "after_any": ["broken", "left_out"]},
    )
    assert slurm.main(commands, [path, "--local"]) == 1
    assert commands.given == ["inspect a", "inspect b c", "embed x", "compare my experiment"]
    errors = capsys.readouterr().err
    assert "broken: failed with exit code 1" in errors
    assert "left_out: left out" in errors


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        (
            {"a": {"bsou": "verify x", "after": "b"}, "b": {"bsou": "verify y"}},
            "a comes after 'b', which is no job above",
        ),
        ({"a": {"bsou": "verify {each}"}}, "give both, or neither"),
        ({"a": {"bsou": "verify 'x"}}, "is not a command"),
        ({"a": {"bsou": "train"}}, "is not a command of bsou"),
        ({"a": {"bsou": "verify x", "slurm": {"nodez": 1}}}, "did you mean 'nodes'?"),
        (
            {"a": {"bsou": "verify x", "slrum": {}}},
            "jobs.a.slrum: no such key; did you mean 'slurm'?",
        ),
        ({"a": {"bsou": "verify x", "slurm": {"nodes": 2}}}, "'bsou verify' is one process"),
        (
            {"a": {"bsou": "verify x"}, "b": {"bsou": "train nowhere.yaml", "after": "a"}},
            "no config at nowhere.yaml",
        ),
    ],
)
def test_mistakes_in_a_file_of_jobs(
    tmp_path: Path, jobs: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert slurm.main(Commands(), [jobs_file(tmp_path, **jobs), "--dry-run"]) == 2
    assert message in capsys.readouterr().err


def test_options_of_a_job_win_over_the_command_line_and_that_over_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "jobs.yaml"
    path.write_text(
        "slurm: {partition: file, account: file, qos: file}\n"
        "jobs:\n  a: {bsou: verify x, slurm: {partition: job}}\n"
    )
    assert (
        slurm.main(Commands(), [str(path), "--partition=line", "--account=line", "--dry-run"]) == 0
    )
    text = capsys.readouterr().out
    for line in ("partition=job", "account=line", "qos=file", "ntasks-per-node=1"):
        assert f"#SBATCH --{line}\n" in text
    assert "gpus-per-node" not in text, "only training takes GPUs unasked"
