"""Checkpoints: whole or not at all, and nothing but tensors and plain values in them."""

from __future__ import annotations

import pickle

import pytest
import torch

from bsou_dist.engine import checkpoint
from bsou_dist.engine.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from bsou_dist.engine.processes import Processes
from bsou_dist.errors import InputError

FIRST = Processes(0, 1, "cpu")


def example(epoch: int = 1) -> Checkpoint:
    moments = {"weight": {"step": torch.tensor(3.0), "exp_avg": torch.ones(2)}}
    schedule = {"best": 0.5, "num_bad_epochs": 2}
    return Checkpoint({"weight": torch.arange(4.0)}, moments, schedule, epoch, 0.5, {"stage": 1})


def test_what_is_saved_is_loaded(tmp_path):
    save_checkpoint(example(), [tmp_path / "best.pt", tmp_path / "last.pt"], FIRST)
    for name in ("best.pt", "last.pt"):
        found = load_checkpoint(tmp_path / name)
        assert torch.equal(found.network["weight"], torch.arange(4.0))
        assert found.moments["weight"]["step"] == 3
        assert (found.epoch, found.best_loss, found.schedule, found.facts) == (1, 0.5, example().schedule, {"stage": 1})
    assert not list(tmp_path.glob("*.tmp"))


def test_only_the_first_process_writes(tmp_path):
    save_checkpoint(example(), [tmp_path / "last.pt"], Processes(1, 2, "cpu"))
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "last.pt"
    save_checkpoint(example(1), [path], FIRST)

    def full_disk(content, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.torch, "save", full_disk)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(example(2), [path], FIRST)
    assert load_checkpoint(path).epoch == 1
    assert [file.name for file in tmp_path.iterdir()] == ["last.pt"]


class Payload:
    def __reduce__(self):
        return print, ("code ran",)


@pytest.mark.parametrize("content", [b"text", b"", pickle.dumps(Payload())], ids=["text", "empty", "pickle"])
def test_what_is_no_checkpoint_is_refused_and_never_run(tmp_path, content, capsys):
    path = tmp_path / "last.pt"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not a checkpoint of bsou-dist"):
        load_checkpoint(path)
    torch.save({"format": 1, "network": Payload()}, path)
    with pytest.raises(InputError, match="is not a checkpoint of bsou-dist"):
        load_checkpoint(path)
    assert "code ran" not in capsys.readouterr().out


def test_missing_and_foreign_formats(tmp_path):
    with pytest.raises(InputError, match="no checkpoint at"):
        load_checkpoint(tmp_path / "last.pt")
    torch.save({"format": 99}, tmp_path / "last.pt")
    with pytest.raises(InputError, match="has checkpoint format 99; this version reads 1"):
        load_checkpoint(tmp_path / "last.pt")
