"""Checkpoints: whole or not at all, checked, pruned; only tensors and plain values in them."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from gloo import run_ranks

from bsou_dist.common.errors import InputError
from bsou_dist.engine import checkpoint
from bsou_dist.engine.checkpoint import (
    BEST,
    FORMAT,
    Checkpoint,
    CheckpointFailed,
    Checkpoints,
    load_checkpoint,
    read_for_all,
)
from bsou_dist.engine.processes import Processes, start_processes


@pytest.fixture
def alone():
    with start_processes() as processes:
        yield processes


def example(epoch: int = 1) -> Checkpoint:
    moments = {"weight": {"step": torch.tensor(3.0), "exp_avg": torch.ones(2)}}
    schedule = {"best": 0.5, "num_bad_epochs": 2}
    return Checkpoint(
        network={"weight": torch.arange(4.0)},
        moments=moments,
        schedule=schedule,
        epoch=epoch,
        step=7,
        losses=2.5,
        best_loss=0.5,
        best=0.5,
        since_best=2,
        metadata={"stage": 1},
    )


def test_what_is_saved_is_loaded(tmp_path, alone):
    kept = Checkpoints(tmp_path, keep=2)
    assert kept.latest(alone) is None
    kept.save(example(), 17, best=True)
    found = kept.latest(alone)
    assert torch.equal(found.network["weight"], torch.arange(4.0))
    assert found.moments["weight"]["step"] == 3
    assert (found.epoch, found.step, found.losses, found.best_loss) == (1, 7, 2.5, 0.5)
    assert (found.schedule, found.metadata) == (example().schedule, {"stage": 1})
    best = load_checkpoint(tmp_path / BEST)
    assert torch.equal(best.network["weight"], torch.arange(4.0))
    assert best.moments == {}
    assert not list(tmp_path.glob("*.tmp"))


def test_the_last_few_are_kept_and_the_best(tmp_path, alone):
    kept = Checkpoints(tmp_path, keep=2)
    for number in (5, 90, 100, 1000):
        kept.save(example(number), number, best=number == 90)
    assert [path.name for path in kept.steps()] == ["step-000001000.pt", "step-000000100.pt"]
    assert kept.latest(alone).epoch == 1000
    assert load_checkpoint(tmp_path / BEST).epoch == 90


def test_a_damaged_one_is_said_and_the_one_before_it_taken(tmp_path, alone, capsys):
    kept = Checkpoints(tmp_path, keep=2)
    kept.save(example(1), 1)
    kept.save(example(2), 2)
    newest = kept.steps()[0]
    data = bytearray(newest.read_bytes())
    spot = data.index(torch.arange(4.0).numpy().tobytes())
    data[spot + 6] ^= 1  # one bit of one weight
    newest.write_bytes(data)
    assert kept.latest(alone).epoch == 1
    said = capsys.readouterr().err
    assert "step-000000002.pt is damaged" in said
    assert "going on from step-000000001.pt" in said
    # What was passed over goes with the next save, which it would otherwise stand before.
    (tmp_path / "step-000000001.pt.tmp").touch()
    kept.latest(alone)
    Checkpoints(tmp_path, keep=1).save(example(3), 1)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001.pt"]
    kept.steps()[0].write_bytes(b"")
    with pytest.raises(InputError, match=r"no whole checkpoint in .*Delete that folder"):
        kept.latest(alone)


@pytest.mark.parametrize("place", ["weight", "moment"])
def test_what_is_not_finite_is_neither_written_nor_read(
    tmp_path, alone, capsys, monkeypatch, place
):
    bad = example(2)
    if place == "weight":
        bad.network["weight"][1] = torch.nan
    else:
        bad.moments["weight"]["exp_avg"][1] = torch.inf
    kept = Checkpoints(tmp_path, keep=2)
    kept.save(example(1), 1)
    with pytest.raises(CheckpointFailed, match=r"step-000000002.pt \(values of .* are not finite"):
        kept.save(bad, 2, best=True)
    assert [file.name for file in tmp_path.iterdir()] == ["step-000000001.pt"]
    # One from before they were looked at.
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "_require_finite", lambda checkpoint: None)
        kept.save(bad, 2)
    assert kept.latest(alone).epoch == 1
    said = capsys.readouterr().err
    assert "are not finite; going on from step-000000001.pt" in said
    kept.steps()[1].unlink()
    with pytest.raises(InputError, match=r"no whole checkpoint in .*are not finite"):
        kept.latest(alone)


def test_a_write_that_fails_leaves_the_old_ones(tmp_path, alone, monkeypatch):
    kept = Checkpoints(tmp_path, keep=1)
    kept.save(example(1), 1)

    def full_disk(content, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.torch, "save", full_disk)
    with pytest.raises(CheckpointFailed, match=r"step-000000002.pt \(No space left on device\)"):
        kept.save(example(2), 2)
    assert kept.latest(alone).epoch == 1
    assert [file.name for file in tmp_path.iterdir()] == ["step-000000001.pt"]


class Payload:
    def __reduce__(self):
        return print, ("code ran",)


@pytest.mark.parametrize(
    "content", [b"text", b"", pickle.dumps(Payload())], ids=["text", "empty", "pickle"]
)
def test_what_is_no_checkpoint_is_refused_and_never_run(tmp_path, content, capsys):
    path = tmp_path / BEST
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not a checkpoint of bsou-dist"):
        load_checkpoint(path)
    torch.save({"format": FORMAT, "network": Payload()}, path)
    with pytest.raises(InputError, match="is not a checkpoint of bsou-dist"):
        load_checkpoint(path)
    assert "code ran" not in capsys.readouterr().out


def test_missing_and_foreign_formats(tmp_path):
    with pytest.raises(InputError, match="no checkpoint at"):
        load_checkpoint(tmp_path / BEST)
    torch.save({"format": 99}, tmp_path / BEST)
    with pytest.raises(InputError, match=f"has checkpoint format 99; this version reads {FORMAT}"):
        load_checkpoint(tmp_path / BEST)


def test_checkpoints_of_format_2_are_refused(tmp_path, alone):
    """In format 2 the field `metadata` was named `facts`."""
    content = vars(example()).copy()
    content["facts"] = content.pop("metadata")
    path = tmp_path / "step-000000017.pt"
    torch.save({"format": 2, "digest": checkpoint._digest(content), **content}, path)
    refusal = f"{path.name} has checkpoint format 2; this version reads {checkpoint.FORMAT}"
    with pytest.raises(InputError, match=refusal):
        load_checkpoint(path)
    with pytest.raises(InputError, match=rf"no whole checkpoint in .*{refusal}.*train this stage"):
        Checkpoints(tmp_path, keep=2).latest(alone)
    assert path.exists()


def _read(rank: int, world: int, folder: Path) -> list[Checkpoint | None]:
    """What a rank gets, of which the first alone sees the files."""
    processes = Processes(rank, world, "cpu")
    kept = Checkpoints(folder if rank == 0 else folder / "nothing here", keep=2)
    found = [kept.latest(processes)]
    if rank == 0:
        checkpoint = example()
        checkpoint.network["counts"] = torch.tensor(3)  # as batch norm has them
        checkpoint.network["half"] = torch.tensor([[1.5, -2.0]], dtype=torch.bfloat16)
        checkpoint.network["mask"] = torch.tensor([True, False])
        kept.save(checkpoint, 17, best=True)
    found.append(kept.latest(processes))
    found.append(read_for_all(kept.folder / BEST, processes))
    with pytest.raises(InputError, match=f"no checkpoint at {folder}/other.pt"):
        read_for_all(kept.folder / "other.pt", processes)
    return found


def test_the_first_rank_reads_for_all(tmp_path):
    first, second = run_ranks(2, _read, tmp_path)
    assert first[0] is second[0] is None
    for mine, other in zip(first[1:], second[1:], strict=True):
        assert checkpoint._digest(vars(mine)) == checkpoint._digest(vars(other))
        assert mine.network["half"].dtype is other.network["half"].dtype is torch.bfloat16
    assert second[1].moments["weight"]["step"] == 3
    assert second[2].moments == {}
