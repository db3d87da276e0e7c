"""The training loop: stopped while it validates and resumed; what it reports."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from gloo import run_ranks
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from bsou_dist.engine.checkpoint import Checkpoint, CheckpointConfig, Checkpoints
from bsou_dist.engine.make import EngineConfig, resume_engine
from bsou_dist.engine.processes import Processes, start_processes
from bsou_dist.engine.stopping import Stopped
from bsou_dist.engine.trainer import Trainer
from bsou_dist.feed.batch import Batch

STEPS, EPOCHS = 3, 3


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, rows: Tensor, slots: Tensor) -> Tensor:
        return self.layer(rows)


class Feed:
    """Batches drawn from (epoch, step).

    `processes` receive a signal while pass number `stop_at` over this feed is under way.
    """

    dataset = SimpleNamespace(slots=1)
    global_batch = 5

    def __init__(
        self, processes: Processes | None = None, stop_at: int = -1, data_wait_s: float = 0.0
    ) -> None:
        self.processes = processes
        self.stop_at = stop_at
        self.data_wait_s = data_wait_s
        self.passes = 0

    def steps(self) -> int:
        return STEPS

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        for step in range(start_step, STEPS):
            if self.processes and self.passes == self.stop_at and step == 1:
                self.processes.signals.received = signal.SIGUSR1
            index = torch.arange(5)
            valid = torch.ones(5, dtype=torch.bool)
            rows = torch.randn(5, 4, generator=torch.Generator().manual_seed(100 * epoch + step))
            yield Batch(
                clips=rows,
                slots=valid[:, None],
                valid=valid,
                labels={},
                key=["clip"] * 5,
                study=index,
                exam=index,
                subject=index,
                sweep=index,
                index=index,
                views=1,
                epoch=epoch,
                step=step,
                data_wait_s=self.data_wait_s,
            )
        self.passes += 1

    def epochs(self, first: int, end: int, start_step: int = 0) -> Iterator[Batch]:
        for epoch in range(first, end):
            yield from self.epoch(epoch, start_step if epoch == first else 0)


class MeanSquare:
    def __call__(self, outputs: Tensor, batch: Batch) -> Tensor:
        return (outputs - 1).square().mean()

    def weight(self, batch: Batch) -> Tensor:
        return batch.valid.sum()


def train(
    folder: Path, processes: Processes, valid: Feed, reports: list, train_feed: Feed | None = None
) -> tuple[float, Checkpoint]:
    torch.manual_seed(0)
    kept = Checkpoints(folder, keep=2)
    engine, start = resume_engine(
        Net(), EngineConfig(name="ddp"), learning_rate=0.1, checkpoints=kept, processes=processes
    )
    best = Trainer(
        engine=engine,
        train_feed=train_feed or Feed(),
        valid_feed=valid,
        objective=MeanSquare(),
        schedule=ReduceLROnPlateau(engine.optimizer, patience=0),
        epochs=EPOCHS,
        seed=0,
        checkpoints=kept,
        saving=CheckpointConfig(),
        metadata={},
        name="test",
        processes=processes,
        report=lambda values, step: reports.append((step, values)),
    ).run(start)
    end = kept.latest(processes)
    assert end
    return best, end


def test_stopped_in_validation(tmp_path):
    for name in ("straight", "stopped"):
        (tmp_path / name).mkdir()
    with start_processes() as processes:
        reports: list = []
        best, end = train(tmp_path / "straight", processes, Feed(), reports)
    again: list = []
    with start_processes() as processes:
        with pytest.raises(Stopped):
            train(tmp_path / "stopped", processes, Feed(processes, stop_at=1), again)
        saved = Checkpoints(tmp_path / "stopped", keep=2).latest(processes)
        assert saved
        # Nothing is left of the epoch but to validate it.
        assert (saved.epoch, saved.step) == (1, STEPS)
    with start_processes() as processes:
        best_again, end_again = train(tmp_path / "stopped", processes, Feed(), again)
    assert best_again == best
    assert all(torch.equal(end_again.network[name], value) for name, value in end.network.items())
    assert end_again.schedule == end.schedule

    def epochs_of(reports: list) -> list:
        return [
            (step, values["train/epoch_loss"], values["valid/loss"])
            for step, values in reports
            if "valid/loss" in values
        ]

    assert epochs_of(again) == epochs_of(reports)


def _reported_waits(rank: int, world: int, folder: Path) -> list[float]:
    """Seconds of waiting reported for each epoch, where rank 1 waits three times as long."""
    reports: list = []
    train_feed = Feed(data_wait_s=[0.25, 0.75][rank])
    train(folder, Processes(rank, world, "cpu"), Feed(), reports, train_feed)
    return [
        values["train/data_wait_share"] * values["epoch_s"]
        for _, values in reports
        if "epoch_s" in values
    ]


def test_the_share_of_waiting_is_that_of_the_process_that_waited_longest(tmp_path):
    expected = pytest.approx([0.75 * STEPS] * EPOCHS)
    assert run_ranks(2, _reported_waits, tmp_path) == [expected, expected]
