"""From frames to a clip."""

from __future__ import annotations

import torch

from bsou_dist.model.encoders.temporal_pool import AttentionPool


def test_attention_weighs_frames_by_what_they_show():
    torch.manual_seed(0)
    pool = AttentionPool(8)
    torch.nn.init.normal_(pool.score.weight)
    frames = torch.randn(3, 5, 8)
    scores = torch.tanh(frames @ pool.hidden.weight.T + pool.hidden.bias) @ pool.score.weight.T
    weights = scores.exp() / scores.exp().sum(dim=1, keepdim=True)
    torch.testing.assert_close(pool(frames), (weights * frames).sum(dim=1))
    turned = frames.flip(1)
    torch.testing.assert_close(pool(turned), pool(frames))
