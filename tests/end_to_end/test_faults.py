"""What happens to jobs: killed, stopped, frozen, started twice, out of disk. Real processes;
nothing may be lost.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import signal
import socket
import subprocess
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import torch
from job import Job

from bsou_dist.engine.checkpoint import Checkpoint, Checkpoints, load_checkpoint
from bsou_dist.tracking.delivery import read_spool

EPOCHS, STEPS = 4, 5
SAVE_EACH_STEP = "checkpoint.every_steps=1"


def settings(learning_rate: float = 1e-3) -> dict:
    """Stage 1 alone, of four epochs of five steps."""
    return {
        "pretrain": {
            "global_batch": 12,
            "epochs": EPOCHS,
            "optim": {"learning_rate": learning_rate},
        },
        "finetune": None,
    }


def steps_of(folder: Path, number: int) -> Path:
    return folder / f"step-{number:09d}.pt"


def last(run: Path) -> Checkpoint:
    return load_checkpoint(Checkpoints(run / "pretrain", keep=2).steps()[0])


def assert_same_end(run: Path, undisturbed: Checkpoint) -> None:
    """Same weights and moments, bit for bit, and every step on record once."""
    end = last(run)
    assert (end.epoch, end.best_loss, end.schedule) == (
        EPOCHS,
        undisturbed.best_loss,
        undisturbed.schedule,
    )
    assert all(torch.equal(end.network[name], value) for name, value in undisturbed.network.items())
    for name, moments in undisturbed.moments.items():
        assert all(torch.equal(end.moments[name][key], value) for key, value in moments.items()), (
            name
        )
    points = Counter(
        (key, event["step"])
        for event in read_spool(run / "tracking.jsonl")
        if event["event"] == "metrics" and event["step"] is not None
        for key in event["values"]
    )
    assert set(points.values()) == {1}
    assert {step for key, step in points if key == "valid/loss"} == {
        STEPS * (epoch + 1) for epoch in range(EPOCHS)
    }


@pytest.fixture(scope="module")
def undisturbed(corpus, tmp_path_factory, small_config) -> Checkpoint:
    """The end of the run on two processes that nobody disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with Job(small_config(folder, **settings()), world=2) as job:
        assert job.codes() == [0, 0], job.said()
    return last(folder / "runs/small")


def test_a_run_that_is_killed_again_and_again_loses_nothing(undisturbed, write_config, tmp_path):
    draw = random.Random(0)
    run = tmp_path / "runs/small"
    config = write_config(**settings())
    third = EPOCHS * STEPS // 3
    for begin, killed in enumerate([(0,), (1,), (0, 1)]):
        with Job(config, SAVE_EACH_STEP, world=2) as job:
            job.wait_for(steps_of(run / "pretrain", third * begin + draw.randrange(2, third)))
            time.sleep(draw.uniform(0, 0.1))
            job.send(signal.SIGKILL, *killed)
            assert 0 not in job.codes()  # nobody waits for the dead
        assert last(run).epoch < EPOCHS
    with Job(config, world=2) as job:
        assert job.codes() == [0, 0], job.said()
    assert_same_end(run, undisturbed)


@pytest.mark.parametrize(
    ("number", "ranks"),
    [(signal.SIGTERM, (1,)), pytest.param(signal.SIGUSR1, (), marks=pytest.mark.slow)],
)
def test_a_stopped_run_saves_at_the_next_step_and_asks_to_be_started_again(
    number, ranks, undisturbed, write_config, tmp_path
):
    run = tmp_path / "runs/small"
    config = write_config(**settings())
    with Job(config, world=2) as job:
        job.wait_for(steps_of(run / "pretrain", STEPS))
        job.send(number, *ranks)
        assert job.codes() == [75, 75], job.said()
        assert f"stopped by {number.name}, and what was done is saved" in job.said(0)
        assert "stopped by" not in job.said(1)
    assert json.loads(read_events(run)[-1])["status"] == "KILLED"
    with Job(config, world=2) as job:
        assert job.codes() == [0, 0], job.said()
    assert_same_end(run, undisturbed)


def read_events(run: Path) -> list[str]:
    return (run / "tracking.jsonl").read_text().splitlines()


def test_a_run_stopped_in_stage_2_goes_on_there(write_config, tmp_path):
    config = write_config(
        pretrain={"global_batch": 12, "epochs": 1, "optim": {"learning_rate": 1e-3}},
        finetune={"tasks": ["sweep"], "encoder": "tuned", "epochs": 3, "global_batch": 8},
    )
    ends = []
    for name, disturbed in (("straight", False), ("stopped", True)):
        run = tmp_path / "runs" / name
        with Job(config, f"name={name}", "checkpoint.every_steps=3") as job:
            if disturbed:
                job.wait_for(steps_of(run / "finetune/main-sweep", 3))
                job.send(signal.SIGUSR1)
                assert job.codes() == [75], job.said()
            else:
                assert job.codes() == [0], job.said()
        if disturbed:
            with Job(config, f"name={name}") as job:
                assert job.codes() == [0], job.said()
                assert "median / majority" in job.said()
        ends.append(pd.read_parquet(run / "predictions.parquet"))
    pd.testing.assert_frame_equal(*ends)


def test_a_second_job_in_the_same_folder_is_refused(write_config, tmp_path):
    run = tmp_path / "runs/small"
    config = write_config(**settings())
    with Job(config, SAVE_EACH_STEP) as job:
        job.wait_for(steps_of(run / "pretrain", 1))
        job.send(signal.SIGSTOP)  # so that it is still there however slow the second one is
        for world in (1, 2):
            with Job(config, world=world) as second:
                assert second.codes() == [2] * world, second.said()
                assert f"is being trained in by process {job.ranks[0].pid} on" in second.said()
        job.send(signal.SIGCONT)
        assert job.codes() == [0], job.said()


@pytest.mark.parametrize("frozen", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_rank_that_hangs_is_named_and_the_run_ends(frozen, write_config, tmp_path):
    other = 1 - frozen
    run = tmp_path / "runs/small"
    with Job(write_config(**settings()), SAVE_EACH_STEP, "engine.hang_minutes=0.2", world=2) as job:
        job.wait_for(steps_of(run / "pretrain", 2))
        job.send(signal.SIGSTOP, frozen)
        assert job.codes(other) == [1]
        said = job.said(other)
        # The ranks' store lives in rank 0 here, and freezes with it. A rank that is frozen within
        # the collective that the other one waits in stands at the same place as that one.
        frozen_alone, frozen_in_step = "hung: rank 1 has stood for about", "hung: all 2 ranks have"
        expected = (frozen_alone, frozen_in_step) if frozen else ("Look at rank 0 first",)
        assert any(verdict in said for verdict in expected), said
        # Where the frozen one stands is what it last told, a moment before.
        assert "at: pretrain" in said
        assert f"rank {other} stands here" in said
        assert "engine/trainer.py" in said  # its stack
        record = run / f"flight-record-{other}"
        assert f"its last collectives are in {record}" in said
        assert pickle.loads(record.read_bytes())["entries"]
    assert STEPS * last(run).epoch + last(run).step >= 2


@pytest.mark.parametrize("when", ["before training", "in its first batches"])
def test_a_rank_that_fails_alone_ends_the_run(when, corpus, write_config, tmp_path):
    """In seconds, and not when the watchdog or the collectives' own time limit would."""
    shards = tmp_path / "shards"
    if when != "before training":
        shutil.copytree(corpus / "shards", shards)
        shutil.copytree(corpus / "shards.private", tmp_path / "shards.private")
        for shard in shards.glob("*.tar"):
            os.truncate(shard, 2000)
    with Job(write_config(**settings()), world=2, of_rank={1: f"data.shards={shards}"}) as job:
        code, error = (2, "InputError") if when == "before training" else (1, "QuarantineExceeded")
        assert job.codes() == [code] * 2, job.said()
        assert f"rank 1 on {socket.gethostname()} has failed: {error}: " in job.said(0)
        assert "has failed" not in job.said(1)


def test_a_damaged_checkpoint_is_passed_over(undisturbed, write_config, tmp_path):
    run = tmp_path / "runs/small"
    config = write_config(**settings())
    with Job(config, "checkpoint.every_steps=2", world=2) as job:
        job.wait_for(steps_of(run / "pretrain", 2 * STEPS + 2))
        job.send(signal.SIGKILL)
        job.codes()
    newest = Checkpoints(run / "pretrain", keep=2).steps()[0]
    newest.write_bytes(newest.read_bytes()[:-5000])
    with Job(config, world=2) as job:
        assert job.codes() == [0, 0], job.said()
        assert f"{newest.name} is not a checkpoint" in job.said(0)
        assert "the one before it" in job.said(0)
    assert_same_end(run, undisturbed)


def test_a_loss_that_is_not_finite_ends_the_run_and_names_the_clips(write_config):
    with Job(write_config(**settings(learning_rate=1e30)), world=2) as job:
        assert job.codes() == [1, 1]
        for rank in range(2):
            assert "the loss is nan" in job.said(rank)
            assert "Clips of rank 0: " in job.said(rank)
            assert "; rank 1: " in job.said(rank)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 60 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=60m", "none", folder], capture_output=True
    ).returncode:
        pytest.skip("mounting a small file system takes root")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> Path:
    path = folder / "filler"
    with path.open("wb") as file:
        try:
            while True:
                file.write(bytes(1 << 16))
                file.flush()
        except OSError:
            pass
    return path


def test_a_full_disk_loses_nothing(undisturbed, write_config, tmp_path, small_disk):
    run = small_disk / "small"
    config = write_config(**settings(), tracking={"uri": f"sqlite:///{tmp_path}/mlflow.db"})
    arguments = (config, f"output={small_disk}", SAVE_EACH_STEP)
    with Job(*arguments, world=2) as job:
        job.wait_for(steps_of(run / "pretrain", STEPS + 1))
        fill(small_disk)
        assert job.codes() == [1, 1], job.said()
        assert "training goes on" in job.said(0)  # within an epoch
        assert "cannot write the checkpoint" in job.said(0)
        assert "Traceback" not in job.said()
        assert "the same command goes on" in job.said(0)
    assert last(run).epoch >= 1
    assert not list(run.rglob("*.tmp"))
    (small_disk / "filler").unlink()
    with Job(*arguments, world=2) as job:
        assert job.codes() == [0, 0], job.said()
    end = last(run)
    assert all(torch.equal(end.network[name], value) for name, value in undisturbed.network.items())


@pytest.mark.parametrize("fault", ["cut", "zeros"])
def test_damaged_shards_end_the_run_by_name(fault, corpus, write_config, tmp_path):
    """In mid-run: what was on them is more than the quarantine's budget of ten clips."""
    shards = Path(shutil.copytree(corpus / "shards", tmp_path / "shards"))
    shutil.copytree(corpus / "shards.private", tmp_path / "shards.private")
    victims = sorted(shards.glob("*.tar"))
    run = tmp_path / "runs/small"
    config = write_config(**settings())
    with Job(config, f"data.shards={shards}", SAVE_EACH_STEP) as job:
        job.wait_for(steps_of(run / "pretrain", 1))
        for victim in victims:
            if fault == "cut":
                os.truncate(victim, 2000)
            else:
                victim.write_bytes(bytes(victim.stat().st_size))
        assert job.codes() == [1], job.said()
        assert any(victim.name in job.said() for victim in victims)
        assert "quarantine-" in job.said()
        assert "Traceback" not in job.said()
