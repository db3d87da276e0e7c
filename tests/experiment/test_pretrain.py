"""Stage 1 before it is begun."""

from __future__ import annotations

import torch

from bsou_dist.common.settings import read_settings
from bsou_dist.engine.processes import Processes
from bsou_dist.experiment.config import RunConfig
from bsou_dist.experiment.corpus import load_corpus
from bsou_dist.experiment.run import _check
from bsou_dist.model.encoder import EncoderConfig, build_encoder


def test_a_run_says_what_its_weights_file_gave(write_config, tmp_path):
    made = build_encoder(EncoderConfig(name="r3d_small", weights="none"), frames=4, size_px=32)
    state = {f"encoder.{name}": value for name, value in made.features.state_dict().items()}
    del state["encoder.0.1.bias"]
    torch.save({"state_dict": state | {"head.bias": torch.zeros(2)}}, tmp_path / "w.pt")
    encoder = {
        "name": "r3d_small",
        "weights": str(tmp_path / "w.pt"),
        "key_map": {r"^encoder\.": ""},
        "norm": "group",
    }
    config = read_settings(RunConfig, write_config(encoder=encoder, finetune=None), [])
    corpus = load_corpus(config.data, list(config.used_tasks.values()))
    _, notes = _check(config, Processes(0, 1, "cpu"), corpus)
    [note] = [note for note in notes if note.startswith("encoder.weights")]
    assert "missing and left as made: 0.1.bias" in note
    assert "left over in the file: head.bias" in note
