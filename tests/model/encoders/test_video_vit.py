"""The plain video transformer."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bsou_dist.common.errors import InputError
from bsou_dist.model.encoder import EncoderConfig, build_encoder
from bsou_dist.model.encoders.video_vit import SIZES, VideoViT, _positions


def encoder(frames: int = 4, size_px: int = 32):
    torch.manual_seed(0)
    config = EncoderConfig(name="video_vit_s", weights="none")
    return build_encoder(config, frames=frames, size_px=size_px)


def test_a_map_of_tubes_and_its_mean():
    net = encoder()
    feature_map, embedding = net(torch.randn(2, 1, 4, 32, 32))
    assert feature_map.shape == (2, 384, 2, 2, 2)
    torch.testing.assert_close(feature_map.mean(dim=(2, 3, 4)), embedding)
    embedding.sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    assert net(torch.zeros(0, 1, 4, 32, 32))[1].shape == (0, 384)


def test_its_attention_is_that_of_torch():
    attention = encoder().features.blocks[0].attn
    tokens = torch.randn(2, 5, 384)
    plain = nn.MultiheadAttention(384, 6, batch_first=True)
    plain.in_proj_weight, plain.in_proj_bias = attention.qkv.weight, attention.qkv.bias
    plain.out_proj.weight, plain.out_proj.bias = attention.proj.weight, attention.proj.bias
    torch.testing.assert_close(attention(tokens), plain(tokens, tokens, tokens)[0])


def test_every_place_has_a_code_of_its_own():
    codes = _positions((4, 7, 7), 384)[0]
    assert torch.cdist(codes, codes).add(torch.eye(len(codes)) * 9).min() > 0.1


def test_the_large_one_has_the_size_of_a_vit_l():
    with torch.device("meta"):
        network = VideoViT(SIZES["video_vit_l"], (8, 14, 14))
    block = 12 * 1024**2 + 13 * 1024
    ends = 2 * 16 * 16 * 1024 + 1024 + 2 * 1024
    assert sum(parameter.numel() for parameter in network.parameters()) == 24 * block + ends


def test_a_clip_that_tubes_do_not_fill_is_refused():
    with pytest.raises(InputError, match=r"do not fill 5 frames of 40 px; set feed\.frames"):
        encoder(frames=5, size_px=40)
