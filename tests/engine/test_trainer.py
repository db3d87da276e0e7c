"""The training loop: stopped and resumed at any instant, failing to save; what it reports."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import pytest
import torch
from gloo import run_ranks
from torch import Tensor, nn

from bsou_dist.engine.checkpoint import (
    BEST,
    Checkpoint,
    CheckpointConfig,
    CheckpointFailed,
    Checkpoints,
    load_checkpoint,
)
from bsou_dist.engine.make import EngineConfig, resume_engine
from bsou_dist.engine.not_finite import NotFinite
from bsou_dist.engine.optim.config import OptimConfig
from bsou_dist.engine.optim.moving_average import MovingAverage
from bsou_dist.engine.optim.schedule import Schedule
from bsou_dist.engine.processes import Processes, start_processes
from bsou_dist.engine.saver import Saver
from bsou_dist.engine.stopping import Stopped
from bsou_dist.engine.trainer import Trainer
from bsou_dist.feed.batch import Batch

STEPS, EPOCHS = 3, 3
PLAIN = OptimConfig(learning_rate=0.1, schedule={"patience": 0, "factor": 0.1})
RECIPES = {
    "plain": PLAIN,
    "warm cosine": OptimConfig(
        name="adamw",
        learning_rate=0.1,
        weight_decay=0.1,
        groups=({"match": "layer.bias", "rate": 0.5},),
        schedule={"kind": "cosine", "warmup_epochs": 1.5},
        ema=0.8,
    ),
    "lamb": OptimConfig(name="lamb", learning_rate=0.1, early_stopping=1),
}


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, rows: Tensor, slots: Tensor) -> Tensor:
        return self.layer(rows)


class Feed:
    """Batches drawn from (epoch, step).

    `processes` receive a signal while the batch of `stop_step` is made, in pass number `stop_at`
    over this feed. Batches of `bad` (epoch, step) hold a NaN.
    """

    dataset = SimpleNamespace(slots=1)
    global_batch = 5

    def __init__(
        self,
        processes: Processes | None = None,
        stop_at: int = -1,
        stop_step: int = 1,
        data_wait_s: float = 0.0,
        bad: tuple[tuple[int, int], ...] = (),
    ) -> None:
        self.processes = processes
        self.stop_at = stop_at
        self.stop_step = stop_step
        self.data_wait_s = data_wait_s
        self.bad = bad
        self.passes = 0

    def steps(self) -> int:
        return STEPS

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        for step in range(start_step, STEPS):
            if self.processes and self.passes == self.stop_at and step == self.stop_step:
                self.processes.signals.received = signal.SIGUSR1
            index = torch.arange(5)
            valid = torch.ones(5, dtype=torch.bool)
            rows = torch.randn(5, 4, generator=torch.Generator().manual_seed(100 * epoch + step))
            if (epoch, step) in self.bad:
                rows[0, 0] = torch.nan
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
                clips_read_ahead=7,
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
    folder: Path,
    processes: Processes,
    valid: Feed,
    reports: list,
    train_feed: Feed | None = None,
    saving: CheckpointConfig | None = None,
    optim: OptimConfig = PLAIN,
    max_skips: int = 0,
    kept: Checkpoints | None = None,
    probe: Callable[[], float] | None = None,
    probe_every: int = 1,
) -> tuple[float, Checkpoint]:
    torch.manual_seed(0)
    kept = kept or Checkpoints(folder, keep=2)
    engine, start = resume_engine(
        Net(),
        EngineConfig(name="ddp"),
        optim,
        checkpoints=kept,
        processes=processes,
    )
    best_loss = (
        Trainer(
            engine=engine,
            train_feed=train_feed or Feed(),
            valid_feed=valid,
            objective=MeanSquare(),
            schedule=Schedule(optim, epochs=EPOCHS, steps=STEPS),
            epochs=EPOCHS,
            seed=0,
            saver=Saver(kept, processes),
            saving=saving or CheckpointConfig(),
            metadata={},
            name="test",
            processes=processes,
            report=lambda values, step: reports.append((step, values)),
            early_stopping=optim.early_stopping,
            max_skips=max_skips,
            probe=probe,
            probe_every=probe_every,
            average=MovingAverage(engine.network, optim.ema) if optim.ema else None,
        )
        .run(start)
        .best_loss
    )
    end = kept.latest(processes)
    assert end
    return best_loss, end


def assert_same_end(found: Checkpoint, expected: Checkpoint) -> None:
    """Same weights, averages, moments and schedule, bit for bit."""
    assert found.averages.keys() == expected.averages.keys()
    for name, value in expected.averages.items():
        assert torch.equal(found.averages[name], value)
    assert all(torch.equal(found.network[name], value) for name, value in expected.network.items())
    for name, moments in expected.moments.items():
        assert all(torch.equal(found.moments[name][key], value) for key, value in moments.items())
    assert found.schedule == expected.schedule
    assert (found.epoch, found.step) == (expected.epoch, expected.step)


def epochs_of(reports: list) -> list[tuple[int, float, float]]:
    return [
        (step, values["train/epoch_loss"], values["valid/loss"])
        for step, values in reports
        if "valid/loss" in values
    ]


@pytest.mark.parametrize(
    ("where", "step", "left_at"),
    [
        ("training", 0, (1, 2)),  # the ranks hear of it after the step that follows
        ("training", 1, (1, STEPS)),
        ("training", 2, (1, STEPS)),  # after the last step: as in validation
        ("validation", 1, (1, STEPS)),  # nothing is left of the epoch but to validate it
    ],
)
@pytest.mark.parametrize("recipe", RECIPES)
def test_stopped_and_resumed(tmp_path, where, step, left_at, recipe):
    optim = RECIPES[recipe]
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    straight.mkdir()
    stopped.mkdir()
    with start_processes() as processes:
        reports: list = []
        best, end = train(straight, processes, Feed(), reports, optim=optim)
    again: list = []
    with start_processes() as processes:
        stopping = Feed(processes, stop_at=1, stop_step=step)
        train_feed, valid_feed = (stopping, Feed()) if where == "training" else (Feed(), stopping)
        with pytest.raises(Stopped):
            train(stopped, processes, valid_feed, again, train_feed, optim=optim)
        saved = Checkpoints(stopped, keep=2).latest(processes)
        assert saved
        assert (saved.epoch, saved.step) == left_at
    with start_processes() as processes:
        best_again, end_again = train(stopped, processes, Feed(), again, optim=optim)
    assert best_again == best
    assert_same_end(end_again, end)
    assert epochs_of(again) == epochs_of(reports)
    assert [step for step, _ in again] == [step for step, _ in reports], "every step once"


def test_the_moving_average_is_what_is_validated_and_kept_as_the_best(tmp_path):
    optim = RECIPES["warm cosine"]
    with start_processes() as processes:
        best_loss, end = train(tmp_path, processes, Feed(), [], optim=optim)
    assert end.since_best == 0, "the last epoch is the best"
    best = load_checkpoint(tmp_path / BEST)
    assert best.averages == {}
    net = Net()
    for weights, is_validated in ((end.network, False), (best.network, True)):
        net.load_state_dict(weights)
        with torch.no_grad():
            losses = [
                MeanSquare()(net(batch.clips, batch.slots), batch) for batch in Feed().epoch(0)
            ]
        assert (torch.stack(losses).mean().item() == pytest.approx(best_loss)) == is_validated


def test_a_probe_chooses_the_best_weights_whatever_the_loss(tmp_path):
    judged = iter([0.5, 0.2, 0.4])
    reports: list = []
    with start_processes() as processes:
        best_loss, end = train(tmp_path, processes, Feed(), reports, probe=lambda: next(judged))
    assert load_checkpoint(tmp_path / BEST).epoch == 2
    assert (end.best, end.since_best) == (0.2, 1)
    assert end.best_loss == best_loss == min(loss for *_, loss in epochs_of(reports))
    probed = [values["valid/probe"] for _, values in reports if "valid/probe" in values]
    assert probed == [0.5, 0.2, 0.4]


def test_a_probe_is_asked_at_its_epochs_and_the_last_and_what_it_said_is_kept(tmp_path):
    judged = iter([0.1, 0.2])
    settings = {"probe": lambda: next(judged), "probe_every": 2}
    with start_processes() as processes:
        stopping = Feed(processes, stop_at=2, stop_step=0)
        with pytest.raises(Stopped):
            train(tmp_path, processes, Feed(), [], stopping, **settings)
    with start_processes() as processes:
        _, end = train(tmp_path, processes, Feed(), [], **settings)
    assert load_checkpoint(tmp_path / BEST).epoch == 2
    assert (end.epoch, end.best, end.since_best) == (3, 0.1, 1)
    assert next(judged, None) is None


def test_a_stage_whose_loss_no_longer_falls_ends_early_and_stays_so(tmp_path, capsys):
    # So small a rate that no validation loss is better than the first by a float's width.
    optim = OptimConfig(learning_rate=1e-12, early_stopping=1)
    ends = []
    for _ in range(2):
        reports: list = []
        with start_processes() as processes:
            ends.append(train(tmp_path, processes, Feed(), reports, optim=optim))
        expected = [] if len(ends) == 2 else [STEPS, 2 * STEPS]
        assert [step for step, *_ in epochs_of(reports)] == expected
    assert ends[0][1].epoch == ends[1][1].epoch == 2
    assert "test ends after epoch 2 of 3" in capsys.readouterr().err


def test_a_checkpoint_that_fails_ends_the_run_only_at_the_end_of_an_epoch(
    tmp_path, monkeypatch, capsys
):
    attempts = []

    def full_disk(self, checkpoint, steps_done, *, best=False):
        attempts.append(steps_done)
        raise CheckpointFailed("the disk is full")

    monkeypatch.setattr(Checkpoints, "save", full_disk)
    reports: list = []
    with start_processes() as processes, pytest.raises(CheckpointFailed, match="disk is full"):
        train(tmp_path, processes, Feed(), reports, saving=CheckpointConfig(every_steps=1))
    assert capsys.readouterr().err.count("note: the disk is full; training goes on") == STEPS
    # The last step of an epoch and its end have one number of steps; after it the run ends.
    assert attempts == [1, 2, STEPS, STEPS]
    assert len(epochs_of(reports)) == 1, "told before it is saved: the step is known if done again"


def test_a_bad_batch_stops_or_is_passed_over_and_no_more_of_them_than_allowed(tmp_path, capsys):
    feed = Feed(bad=((0, 1), (1, 0), (1, 2)))
    reports: list = []
    with start_processes() as processes:
        with pytest.raises(NotFinite, match="epoch 0, step 1"):
            train(tmp_path, processes, Feed(), reports, feed)
        assert not list(tmp_path.glob("*.pt")), "nothing is saved"
        reports.clear()
        # Of epoch 1 a second batch is one too many, also after a restart between the two.
        saving = CheckpointConfig(every_steps=2)
        for _ in range(2):
            with pytest.raises(NotFinite, match="epoch 1, step 2"):
                train(tmp_path, processes, Feed(), reports, feed, saving, max_skips=1)
        said = capsys.readouterr().err
        assert said.count("passed over (1 of at most 1 in an epoch)") == 2
        _, end = train(tmp_path, processes, Feed(), reports, feed, saving, max_skips=2)
    assert end.epoch == EPOCHS
    assert all(value.isfinite().all() for value in end.network.values())
    assert {
        step: value["train/skipped_batches"] for step, value in reports if "epoch_s" in value
    } == {
        STEPS: 1,
        2 * STEPS: 2,
        3 * STEPS: 0,
    }
    losses = {step: value["train/loss"] for step, value in reports if "train/loss" in value}
    epoch_losses = [loss for _, loss, _ in epochs_of(reports)]
    assert epoch_losses[:2] == pytest.approx([(losses[1] + losses[3]) / 2, losses[5]])


class LateDisk(Checkpoints):
    """Checkpoints of which the first is written once it may be; remembers what is written."""

    def __init__(self, folder: Path, may_write: Event) -> None:
        super().__init__(folder, keep=2)
        self.may_write = may_write
        self.written: dict[int, Tensor] = {}

    def save(self, checkpoint: Checkpoint, steps_done: int, *, best: bool = False) -> None:
        assert self.may_write.wait(timeout=60), "training waits for a checkpoint to be written"
        self.written[steps_done] = checkpoint.network["layer.weight"].clone()
        super().save(checkpoint, steps_done, best=best)


def test_training_goes_on_while_the_weights_of_an_earlier_step_are_written(tmp_path):
    at_once, later = tmp_path / "at-once", tmp_path / "later"
    at_once.mkdir()
    later.mkdir()
    open_gate, gate = Event(), Event()
    open_gate.set()
    disks = [LateDisk(at_once, open_gate), LateDisk(later, gate)]

    class Reports(list):
        def append(self, report):
            super().append(report)
            if report[0] == 3:  # the step after the one that was saved has changed the weights
                gate.set()

    for disk in disks:
        with start_processes() as processes:
            saving = CheckpointConfig(every_steps=2)
            train(disk.folder, processes, Feed(), Reports(), saving=saving, kept=disk)
    assert sorted(disks[0].written) == [2, 3, 5, 6, 8, 9]
    assert disks[0].written.keys() == disks[1].written.keys()
    for step, weights in disks[0].written.items():
        assert torch.equal(weights, disks[1].written[step])


def _failed_saving(rank: int, world: int, folder: Path) -> str:
    """The message that a rank ends by where the first one cannot write."""
    processes = Processes(rank, world, "cpu")
    with pytest.raises(CheckpointFailed) as failed:
        train(folder / "gone", processes, Feed(), [])
    return str(failed.value)


def test_a_checkpoint_that_fails_ends_all_ranks(tmp_path):
    messages = run_ranks(2, _failed_saving, tmp_path)
    assert messages[0] == messages[1]
    assert f"cannot write the checkpoint {tmp_path}/gone/step-000000003.pt" in messages[0]


def _reported_waits(rank: int, world: int, folder: Path) -> list[float]:
    """Seconds of waiting reported for each epoch, where rank 1 waits three times as long."""
    reports: list = []
    train_feed = Feed(data_wait_s=[0.25, 0.75][rank])
    train(folder, Processes(rank, world, "cpu"), Feed(), reports, train_feed)
    of_steps = [values for _, values in reports if "train/data_wait_s" in values]
    assert {values["train/clips_read_ahead"] for values in of_steps} == {7.0}
    assert {values["train/learning_rate"] for values in of_steps} == {0.1}
    for _, values in reports:
        if "epoch_s" in values:
            assert values["ranks/slowest"] == 1
            assert 0.75 < values["ranks/slowest_step_s"] < values["ranks/median_step_s"] + 0.5
            assert values["train/clips_per_s"] == 5 * STEPS / values["epoch_s"]
            assert values["memory_gb"] > 0.1
    return [
        values["train/data_wait_share"] * values["epoch_s"]
        for _, values in reports
        if "epoch_s" in values
    ]


def test_the_share_of_waiting_is_that_of_the_process_that_waited_longest(tmp_path):
    expected = pytest.approx([0.75 * STEPS] * EPOCHS)
    assert run_ranks(2, _reported_waits, tmp_path) == [expected, expected]


def _stopped_on_one_rank(rank: int, world: int, folder: Path) -> tuple[int, int]:
    """Where all ranks stopped, when rank 1 alone gets a signal at the first step."""
    processes = Processes(rank, world, "cpu")
    stopping = Feed(processes if rank == 1 else None, stop_at=0, stop_step=0)
    with pytest.raises(Stopped):
        train(folder, processes, Feed(), [], stopping)
    saved = Checkpoints(folder, keep=2).latest(processes)
    assert saved
    return saved.epoch, saved.step


def test_a_signal_to_one_rank_stops_all_after_the_step_that_follows(tmp_path):
    assert run_ranks(2, _stopped_on_one_rank, tmp_path) == [(0, 2), (0, 2)]
