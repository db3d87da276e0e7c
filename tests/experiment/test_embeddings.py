"""Encoders out of checkpoints."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from bsou_dist.common.errors import InputError
from bsou_dist.experiment import embeddings
from bsou_dist.experiment.embeddings import encoder_of
from bsou_dist.model.encoder import EncoderConfig, build_encoder


def mean_over_time(*, channels: int, frames: int, size_px: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * frames * size_px**2, 3))


def test_a_checkpoint_cannot_have_a_factory_run_that_nobody_else_names(monkeypatch, tmp_path):
    config = EncoderConfig(name=f"{__name__}:mean_over_time", weights="none")
    made = build_encoder(config, frames=2, size_px=4)
    network = {f"encoder.{name}": value for name, value in made.state_dict().items()}
    metadata = {"encoder": config.model_dump(), "frames": 2, "size_px": 4}
    checkpoint = SimpleNamespace(network=network, metadata=metadata)
    monkeypatch.setattr(embeddings, "load_checkpoint", lambda path: checkpoint)
    monkeypatch.delattr(sys.modules[__name__], "mean_over_time")
    with pytest.raises(InputError, match="which is code that would be run"):
        encoder_of(tmp_path / "best.pt", trusted="r3d_18")
    monkeypatch.undo()
    monkeypatch.setattr(embeddings, "load_checkpoint", lambda path: checkpoint)
    loaded = encoder_of(tmp_path / "best.pt", trusted=config.name)
    clips = torch.randn(2, 1, 2, 4, 4)
    torch.testing.assert_close(loaded(clips)[1], made(clips)[1])
