"""Image models of timm over frames."""

from __future__ import annotations

import subprocess
import sys

import pytest
import timm
import torch
from safetensors.torch import save_file

from bsou_dist.common.errors import InputError
from bsou_dist.model.encoder import Encoder, EncoderConfig, build_encoder


def encoder(name: str, size_px: int = 32, **settings: object) -> Encoder:
    torch.manual_seed(0)
    config = EncoderConfig.model_validate({"name": name, "weights": "none"} | settings)
    return build_encoder(config, frames=3, size_px=size_px)


@pytest.mark.parametrize("pool", ["mean", "attention"])
def test_an_embedding_is_the_mean_of_those_of_frames_at_the_start(pool):
    net = encoder("timm/resnet18", temporal_pool=pool, norm="group").eval()
    clips = torch.randn(2, 1, 3, 32, 32)
    with torch.no_grad():
        feature_map, embedding = net(clips)
        frames = torch.stack([net.features.model(clips[:, :, f]) for f in range(3)])
    assert embedding.shape == (2, net.dim) == (2, 512)
    assert feature_map.shape == (2, 512, 1, 1, 1)
    torch.testing.assert_close(embedding, frames.mean(dim=0), rtol=1e-4, atol=1e-5)


def test_timms_file_gives_the_three_channel_answer(tmp_path):
    torch.manual_seed(1)
    rgb = timm.create_model("resnet18", pretrained=False).eval()
    save_file(rgb.state_dict(), tmp_path / "w.safetensors")
    net = encoder("timm/resnet18", weights=str(tmp_path / "w.safetensors")).eval()
    picture = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        expected = rgb.forward_head(
            rgb.forward_features(picture.expand(-1, 3, -1, -1)), pre_logits=True
        )
        torch.testing.assert_close(net(picture[:, :, None])[1], expected, rtol=1e-4, atol=1e-5)
    assert net.report is not None
    assert net.report.missing == ()
    assert net.report.left_over == ("fc.bias", "fc.weight")


@pytest.mark.parametrize("norm", ["batch", "group", "frozen_batch"])
def test_every_norm_option_of_a_convolutional_one(norm):
    net = encoder("timm/resnet18", norm=norm).train()
    clips = torch.randn(2, 1, 3, 32, 32)
    before = {name: value.clone() for name, value in net.named_buffers()}
    alone = torch.cat([net(clip[None])[1] for clip in clips])
    assert torch.allclose(alone, net(clips)[1], atol=1e-5) is (norm != "batch")
    moved = [name for name, value in net.named_buffers() if not torch.equal(value, before[name])]
    assert bool(moved) is (norm == "batch")


def test_a_norm_that_is_more_than_batch_norm_is_refused_unless_it_stays():
    encoder("timm/efficientnet_b0", norm="batch")
    with pytest.raises(InputError, match="BatchNormAct2d, which is more than batch norm"):
        encoder("timm/efficientnet_b0", norm="group")


def test_a_model_of_one_size_is_made_for_ours_and_takes_no_rows():
    net = encoder("timm/swin_tiny_patch4_window7_224", size_px=56).train()
    assert not net.features._takes_no_rows
    _, embedding = net(torch.zeros(0, 1, 3, 56, 56))
    assert embedding.shape == (0, net.dim)
    embedding.sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_an_unknown_model_names_those_near_it():
    with pytest.raises(InputError, match=r"'timm/resnet81', and timm has no such .*resnet18"):
        encoder("timm/resnet81")


def test_only_who_takes_one_of_them_pays_for_timm():
    program = (
        "import sys\n"
        "from bsou_dist.model.encoder import EncoderConfig, build_encoder\n"
        "config = EncoderConfig(name='r3d_small', weights='none')\n"
        "build_encoder(config, frames=8, size_px=32)\nassert 'timm' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
