"""Encoders of one's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bsou_dist.common.errors import InputError
from bsou_dist.model.encoder import Encoder, EncoderConfig, build_encoder
from bsou_dist.model.encoders.own_factory import check_trusted


class Means(nn.Module):
    """Embeds a clip by a linear layer on its channels' means."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)
        self.linear = nn.Linear(channels, width)

    def forward(self, clips: Tensor) -> Tensor:
        return self.linear(self.norm(clips.mean(dim=(2, 3, 4))))


def means(*, channels: int, frames: int, size_px: int, width: int = 5) -> nn.Module:
    assert (frames, size_px) == (4, 16)
    return Means(channels, width)


def maps(*, channels: int, frames: int, size_px: int) -> nn.Module:
    return nn.Conv3d(channels, 5, 3)


def fails(*, channels: int, frames: int, size_px: int) -> nn.Module:
    return nn.Linear(7, 5)


def no_module(*, channels: int, frames: int, size_px: int) -> int:
    return 3


class Stubborn(nn.Module):
    """Says its width, and cannot take no rows."""

    dim = 6

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm3d(1)
        self.linear = nn.Linear(4 * 16 * 16, 6)

    def forward(self, clips: Tensor) -> Tensor:
        return self.linear(self.norm(clips).reshape(len(clips), -1, 4 * 16 * 16)[:, 0])


def stubborn(*, channels: int, frames: int, size_px: int) -> nn.Module:
    return Stubborn()


def encoder(name: str, **settings: object) -> Encoder:
    torch.manual_seed(0)
    named = {"name": f"{__name__}:{name}", "weights": "none"}
    config = EncoderConfig.model_validate(named | settings)
    return build_encoder(config, frames=4, size_px=16)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_factory_of_ones_own_embeds_clips(channels):
    net = encoder("means", channels=channels, options={"width": 7}, norm="frozen_batch").eval()
    clips = torch.randn(3, 1, 4, 16, 16)
    feature_map, embedding = net(clips)
    assert net.dim == 7
    expected = net.features.network(clips.expand(-1, channels, -1, -1, -1))
    torch.testing.assert_close(embedding, expected)
    torch.testing.assert_close(feature_map.mean(dim=(2, 3, 4)), embedding)


def test_its_weights_come_from_a_file_and_its_norm_is_replaced(tmp_path):
    made = means(channels=1, frames=4, size_px=16)
    torch.save({f"net.{name}": value for name, value in made.state_dict().items()}, tmp_path / "w")
    net = encoder("means", weights=str(tmp_path / "w"), key_map={r"^net\.": ""}, norm="group")
    assert isinstance(net.features.network.norm, nn.GroupNorm)
    assert torch.equal(net.features.network.linear.weight, made.linear.weight)


def test_one_that_cannot_take_no_rows_is_given_a_blank_one_that_leaves_no_trace():
    net = encoder("stubborn").train()
    assert net.dim == 6
    assert not net.features._takes_no_rows
    before = {name: value.clone() for name, value in net.named_buffers()}
    _, embedding = net(torch.zeros(0, 1, 4, 16, 16))
    assert embedding.shape == (0, 6)
    embedding.sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in net.named_buffers())
    assert net.features.network.norm.training


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("absent", {}, "cannot be imported"),
        ("means", {"options": {"depth": 2}}, r"means\(.*depth=2\) failed \(TypeError"),
        ("no_module", {}, "gave int; it must return a torch module"),
        ("maps", {}, r"makes \(1, 5, 2, 14, 14\) of clips .* embeddings \(1, D\)"),
        ("fails", {}, r"failed on clips \(1, 1, 4, 16, 16\)"),
    ],
)
def test_what_does_not_keep_to_the_contract_is_told_in_one_message(name, settings, message):
    with pytest.raises(InputError, match=message):
        encoder(name, **settings)


def test_a_module_that_is_not_there_is_named():
    with pytest.raises(InputError, match=r"'no\.such:thing'.*PYTHONPATH"):
        build_encoder(EncoderConfig(name="no.such:thing", weights="none"), frames=4, size_px=16)


def test_a_factory_that_only_a_file_names_is_not_run(tmp_path):
    check_trusted("r3d_18", None, tmp_path)
    check_trusted("my.encoders:large", "my.encoders:large", tmp_path)
    for trusted in (None, "my.encoders:small", "r3d_18"):
        with pytest.raises(InputError, match=r"made by 'my\.encoders:large', which is code"):
            check_trusted("my.encoders:large", trusted, tmp_path)
