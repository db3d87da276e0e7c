"""Weights from a file: what fits, what is missing, what is left over, and what is refused."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from bsou_dist.common.errors import InputError
from bsou_dist.model.encoder import EncoderConfig, build_encoder
from bsou_dist.model.encoders.backbone import Backbone
from bsou_dist.model.weight_file import load_weights, read_weights


def backbone() -> Backbone:
    """A first layer over one channel and a norm, of a network that has a head besides."""
    torch.manual_seed(0)
    features = nn.Sequential(nn.Conv3d(1, 4, 3, bias=False), nn.BatchNorm3d(4))
    network = nn.ModuleDict({"body": features, "head": nn.Linear(4, 2)})
    return Backbone(network, features, 4)


def file_of(state: dict[str, torch.Tensor], path):
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


@pytest.fixture
def theirs() -> dict[str, torch.Tensor]:
    """The backbone's tensors under another's names, the first layer over RGB, without counters."""
    torch.manual_seed(1)
    return {
        "module.stem.weight": torch.randn(4, 3, 3, 3, 3),
        "module.norm.weight": torch.randn(4),
        "module.norm.bias": torch.randn(4),
        "module.norm.running_mean": torch.randn(4),
        "module.norm.running_var": torch.rand(4),
        "fc.weight": torch.randn(9, 4),
    }


MAP = {r"^module\.": "", r"^stem\.": "body.0.", r"^norm\.(\w+)$": r"body.1.\1"}


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_a_key_map_brings_each_tensor_to_its_place(name, theirs, tmp_path):
    ours = backbone()
    report = load_weights(ours, file_of(theirs, tmp_path / name), MAP)
    state = ours.network.state_dict()
    rgb = torch.randn(2, 1, 5, 5, 5)
    expected = nn.functional.conv3d(rgb.expand(-1, 3, -1, -1, -1), theirs["module.stem.weight"])
    torch.testing.assert_close(ours.features[0](rgb), expected)
    for field in ("weight", "bias", "running_mean", "running_var"):
        assert torch.equal(state[f"body.1.{field}"], theirs[f"module.norm.{field}"])
    assert len(report.loaded) == 5
    assert report.missing == ()
    assert report.left_over == ("fc.weight",)
    assert str(report) == (
        f"encoder.weights: 5 of 5 tensors from {tmp_path / name}; left over in the file: fc.weight"
    )


def test_what_a_file_lacks_is_said_and_stays_as_it_was(theirs, tmp_path):
    del theirs["module.norm.bias"]
    ours = backbone()
    path = file_of(theirs, tmp_path / "w.pt")
    report = load_weights(ours, path, MAP)
    assert report.missing == ("body.1.bias",)
    assert torch.equal(ours.network.state_dict()["body.1.bias"], torch.zeros(4))
    assert "4 of 5 tensors" in str(report)
    assert "missing and left as made: body.1.bias" in str(report)
    with pytest.raises(InputError, match=r"lacks body\.1\.bias of the encoder"):
        load_weights(backbone(), path, MAP, whole=True)


def test_a_file_of_which_nothing_fits_is_refused_with_names_of_both(theirs, tmp_path):
    path = file_of(theirs, tmp_path / "w.pt")
    with pytest.raises(
        InputError, match=r"nothing .* fits.*module\.stem.*body\.0\.weight.*key_map"
    ):
        load_weights(backbone(), path, {})
    head_alone = file_of({"head.weight": torch.zeros(2, 4)}, tmp_path / "head.pt")
    with pytest.raises(InputError, match="nothing"):
        load_weights(backbone(), head_alone, {})


def test_another_shape_and_two_names_in_one_are_refused(theirs, tmp_path):
    narrow = theirs | {"module.norm.weight": torch.zeros(3)}
    with pytest.raises(InputError, match=r"body\.1\.weight \(3,\) instead of \(4,\)"):
        load_weights(backbone(), file_of(narrow, tmp_path / "w.pt"), MAP)
    with pytest.raises(InputError, match=r"of both 'module\.norm\.weight' and"):
        load_weights(
            backbone(), file_of(theirs, tmp_path / "w.pt"), {r"^module.norm.(weight|bias)": "one"}
        )


def test_tensors_are_found_beside_what_a_trainer_keeps(theirs, tmp_path):
    path = tmp_path / "w.pt"
    torch.save({"epoch": 3, "state_dict": theirs, "optimizer": {"lr": 0.1}}, path)
    assert read_weights(path).keys() == theirs.keys()
    torch.save({"epoch": 3}, path)
    with pytest.raises(InputError, match="holds no tensors by name"):
        read_weights(path)


def test_damaged_and_absent_files_are_named(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        read_weights(tmp_path / "none.pt")
    (tmp_path / "bad.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(InputError, match=r"bad\.safetensors cannot be read as weights"):
        read_weights(tmp_path / "bad.safetensors")


def test_frozen_batch_norm_wants_its_statistics_in_the_file(tmp_path):
    made = build_encoder(EncoderConfig(name="r3d_small", weights="none"), frames=8, size_px=32)
    whole = made.features.state_dict()
    config = {"name": "r3d_small", "norm": "frozen_batch"}
    path = file_of(whole, tmp_path / "whole.pt")
    frozen = build_encoder(EncoderConfig(**config, weights=str(path)), frames=8, size_px=32)
    assert frozen.report is not None
    assert frozen.report.missing == ()
    part = {name: value for name, value in whole.items() if "running_var" not in name}
    path = file_of(part, tmp_path / "part.pt")
    with pytest.raises(InputError, match="lacks statistics to keep"):
        build_encoder(EncoderConfig(**config, weights=str(path)), frames=8, size_px=32)
