"""Encoders, weights, norms and heads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gloo import run_ranks
from p1_tasks import TASKS
from torchvision.models import get_model, get_model_weights

from bsou_dist.common.errors import InputError
from bsou_dist.model.encoder import EncoderConfig, build_encoder
from bsou_dist.model.encoders.small_resnet import SMALL
from bsou_dist.model.encoders.torchvision_video import torchvision_names
from bsou_dist.model.heads.regression import Gaussian
from bsou_dist.model.network import PretrainNetwork, TaskNetwork, projection_heads
from bsou_dist.model.norm import check_norm, with_norm

SHAPES = {"s3d": (16, 64), "mvit_v1_b": (16, 224), "mvit_v2_s": (16, 224)}
DIMS = {
    SMALL: 128,
    "s3d": 1024,
    "mvit_v1_b": 768,
    "mvit_v2_s": 768,
    "swin3d_b": 1024,
    "swin3d_s": 768,
    "swin3d_t": 768,
}


def encoder(name: str = SMALL, norm: str = "group", frames: int = 8, size_px: int = 32):
    torch.manual_seed(0)
    return build_encoder(
        EncoderConfig(name=name, weights="none", norm=norm), frames=frames, size_px=size_px
    )


@pytest.mark.parametrize("name", [SMALL, *torchvision_names()])
def test_every_torchvision_encoder_takes_one_channel(name):
    frames, size_px = SHAPES.get(name, (8, 32))
    with torch.no_grad():
        net = encoder(name, frames=frames, size_px=size_px).eval()
        feature_map, embedding = net(torch.randn(1, 1, frames, size_px, size_px))
    assert embedding.shape == (1, net.dim) == (1, DIMS.get(name, 512))
    assert feature_map.ndim == 5
    torch.testing.assert_close(feature_map.mean(dim=(2, 3, 4)), embedding)


def test_group_norm_does_not_depend_on_the_batch():
    clips = torch.randn(3, 1, 8, 32, 32)
    with torch.no_grad():
        for norm, same in (("group", True), ("batch", False)):
            net = encoder(norm=norm).train()
            alone = torch.cat([net(clip[None])[1] for clip in clips])
            assert torch.allclose(alone, net(clips)[1], atol=1e-5) is same


def test_kinetics_file_gives_the_three_channel_answer(tmp_path):
    torch.manual_seed(0)
    rgb = get_model("r3d_18", weights=None).eval()
    torch.save(rgb.state_dict(), tmp_path / "w.pth")
    grey = build_encoder(
        EncoderConfig(name="r3d_18", weights=str(tmp_path / "w.pth")), frames=8, size_px=32
    ).eval()
    clips = torch.randn(2, 1, 8, 32, 32)
    with torch.no_grad():
        embedding = grey(clips)[1]
        rgb.fc = torch.nn.Identity()
        torch.testing.assert_close(
            embedding, rgb(clips.expand(-1, 3, -1, -1, -1)), rtol=1e-4, atol=1e-5
        )


def test_missing_or_wrong_weights_name_the_file_wanted(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    wanted = get_model_weights("r3d_18")["KINETICS400_V1"].url.rsplit("/", 1)[1]
    with pytest.raises(InputError, match=wanted):
        build_encoder(EncoderConfig(name="r3d_18"), frames=8, size_px=32)
    (tmp_path / "text.pth").write_text("not weights")
    with pytest.raises(InputError, match="cannot be read as weights"):
        build_encoder(
            EncoderConfig(name="r3d_18", weights=str(tmp_path / "text.pth")), frames=8, size_px=32
        )
    torch.save(get_model("mc3_18", weights=None).state_dict(), tmp_path / "mc3.pth")
    with pytest.raises(InputError, match=r"does not fit the encoder: it has layer2.0.conv1"):
        build_encoder(
            EncoderConfig(name="r3d_18", weights=str(tmp_path / "mc3.pth")), frames=8, size_px=32
        )


def test_mvit_of_another_shape_is_refused():
    with pytest.raises(InputError, match="takes 16 frames of 224 px only"):
        encoder("mvit_v2_s")


def test_unknown_encoder_lists_the_known_ones():
    with pytest.raises(ValueError, match="r2plus1d_18"):
        EncoderConfig(name="resnet50")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "video_vit_s"}, "there are none of video_vit_s"),
        ({"name": "r3d_18", "temporal_pool": "attention"}, "temporal_pool is for models of timm"),
        ({"name": "timm/resnet18", "weights": "none", "channels": 3}, "channels is for a factory"),
        ({"name": "r3d_18", "options": {"width": 3}}, "options is for a factory"),
        ({"name": "r3d_18", "key_map": {"a": "b"}}, "key_map is for a file of weights"),
        ({"name": "r3d_18", "weights": "w.pt", "key_map": {"(": "b"}}, "no regular expression"),
        ({"name": "r3d_18", "weights": "w.pt", "key_map": {"a": r"\1"}}, "no regular expression"),
    ],
)
def test_a_setting_of_another_kind_of_encoder_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        EncoderConfig(**settings)


def test_frozen_batch_norm_keeps_its_statistics_and_trains_the_rest():
    net = encoder(norm="batch")
    for _ in range(3):
        net.train()(torch.randn(4, 1, 8, 32, 32))  # gives it statistics
    clips, evaluated = torch.randn(3, 1, 8, 32, 32), net.eval()
    expected = evaluated(clips)[1]
    frozen = with_norm(net, "frozen_batch").train()
    before = {name: value.clone() for name, value in frozen.named_buffers()}
    out = frozen(clips)[1]
    torch.testing.assert_close(out, expected)
    out.sum().backward()
    assert before
    assert all(torch.equal(value, before[name]) for name, value in frozen.named_buffers())
    assert all(parameter.grad is not None for parameter in frozen.parameters())


def test_synchronised_batch_norm_is_refused_on_cpu():
    with pytest.raises(InputError, match="on CPU use 'group'"):
        check_norm("sync_batch", "cpu")
    check_norm("sync_batch", "cuda")


def _synced(rank: int, world: int) -> torch.Tensor:
    torch.cuda.set_device(rank)
    torch.manual_seed(0)
    net = encoder(norm="sync_batch").train().cuda()
    return net(sync_clips()[[slice(0, 1), slice(1, 6)][rank]].cuda())[1].detach().cpu()


def sync_clips() -> torch.Tensor:
    return torch.randn(6, 1, 8, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_synchronised_batch_norm_is_that_of_one_process():
    torch.manual_seed(0)
    expected = encoder(norm="batch").train()(sync_clips())[1].detach()
    torch.testing.assert_close(
        torch.cat(run_ranks(2, _synced, backend="nccl")), expected, rtol=1e-3, atol=1e-4
    )


def test_projections_have_unit_norm():
    net = PretrainNetwork(encoder(), projection_heads(["a", "b"], 128))
    out = net(torch.randn(3, 1, 8, 32, 32), torch.ones(3, 1, dtype=torch.bool))
    assert [tuple(z.shape) for z in out] == [(3, 256), (3, 256)]
    torch.testing.assert_close(torch.stack(out).norm(dim=-1), torch.ones(2, 3))


def test_empty_slots_of_an_exam_change_nothing():
    torch.manual_seed(0)
    net = TaskNetwork(TASKS["placenta"], 128, encoder=encoder()).eval()
    exams, slots = torch.randn(2, 6, 1, 8, 32, 32), torch.rand(2, 6) > 0.4
    with torch.no_grad():
        logits = net(exams, slots)
        garbage = torch.where(slots[..., None, None, None, None], exams, torch.nan)
        torch.testing.assert_close(net(garbage, slots), logits)
        embeddings = torch.stack([net.encoder(exam)[1] for exam in exams])
        cached = TaskNetwork(TASKS["placenta"], 128, encoder=None).eval()
        cached.load_state_dict(
            {k: v for k, v in net.state_dict().items() if not k.startswith("encoder.")}
        )
        torch.testing.assert_close(cached(embeddings, slots), logits, rtol=1e-4, atol=1e-5)
    assert logits.shape == (2, 2)


def test_missing_clips_stay_out_of_batch_statistics():
    torch.manual_seed(0)
    clips, there = torch.randn(5, 1, 8, 32, 32), torch.tensor([True, False, True, True, False])
    net = PretrainNetwork(encoder(norm="batch"), projection_heads(["a"], 128)).train()
    garbage = torch.where(there[:, None, None, None, None], clips, 1e6)
    (out,) = net(garbage, there[:, None])
    torch.testing.assert_close(out[there], net(clips[there], torch.ones(3, 1, dtype=torch.bool))[0])


@pytest.mark.parametrize(
    "name", ["r3d_18", "s3d", pytest.param("mvit_v2_s", marks=pytest.mark.slow), "swin3d_t"]
)
def test_every_kind_of_encoder_takes_no_rows(name):
    frames, size_px = SHAPES.get(name, (8, 32))
    net = encoder(name, frames=frames, size_px=size_px)
    _, embedding = net(torch.zeros(0, 1, frames, size_px, size_px))
    assert embedding.shape == (0, net.dim)
    embedding.sum().backward()


def test_no_rows_give_no_rows_and_a_gradient_of_zero():
    net = TaskNetwork(TASKS["placenta"], 128, encoder=encoder())
    net(torch.zeros(0, 6, 1, 8, 32, 32), torch.zeros(0, 6, dtype=torch.bool)).sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in net.parameters())


def test_regression_head_speaks_the_unit():
    labels = np.array([170.0, 230.0, np.nan], dtype=np.float32)
    net = TaskNetwork(TASKS["ga"], 128, encoder=None, train_labels=labels).eval()
    out = net(torch.randn(5, 128), torch.ones(5, 1, dtype=torch.bool))
    assert isinstance(out, Gaussian)
    mean, variance = net.head.in_unit(out)
    torch.testing.assert_close(mean, out.mean * 30 + 200)
    torch.testing.assert_close(variance, out.log_variance.exp() * 900)
    torch.testing.assert_close(net.head.standardise(mean), out.mean)
