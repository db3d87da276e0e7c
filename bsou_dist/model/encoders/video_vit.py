"""A plain video transformer: a clip cut into tubes, each a token (ViViT's tubelet embedding).

Arnab et al., 2021, *ViViT: A Video Vision Transformer*, 3.2; sizes and fixed sine-cosine positions
as in Tong et al., 2022, *VideoMAE*. Blocks name their tensors as timm's ViT does
(`blocks.0.attn.qkv.weight`).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from bsou_dist.common.errors import InputError
from bsou_dist.model.encoders.backbone import Backbone


class _Size(NamedTuple):
    width: int
    depth: int
    heads: int


SIZES = {
    "video_vit_s": _Size(384, 12, 6),
    "video_vit_b": _Size(768, 12, 12),
    "video_vit_l": _Size(1024, 24, 16),
}
TUBE = (2, 16, 16)
"""Frames, rows and columns of pixels of a token."""


def video_vit(name: str, *, frames: int, size_px: int) -> Backbone:
    """The transformer of this size for clips of `frames` x `size_px` x `size_px`.

    Raises:
        InputError: tubes do not fill such a clip.
    """
    if frames % TUBE[0] or size_px % TUBE[1]:
        raise InputError(
            f"{name} cuts clips into tubes of {TUBE[0]} frames of {TUBE[1]} px, which do not fill "
            f"{frames} frames of {size_px} px; set feed.frames to a multiple of {TUBE[0]} and "
            f"feed.size_px to one of {TUBE[1]}"
        )
    places = (frames // TUBE[0], size_px // TUBE[1], size_px // TUBE[2])
    network = VideoViT(SIZES[name], places)
    return Backbone(network, network, SIZES[name].width)


class VideoViT(nn.Module):
    """Clips (N, 1, F, H, W) to a map (N, D, F/2, H/16, W/16)."""

    def __init__(self, size: _Size, places: tuple[int, int, int]) -> None:
        super().__init__()
        self.places = places
        self.patch_embed = nn.Conv3d(1, size.width, kernel_size=TUBE, stride=TUBE)
        # Not saved: it is a function of the shape, and a file of weights serves any.
        self.register_buffer("positions", _positions(places, size.width), persistent=False)
        self.blocks = nn.ModuleList(_Block(size) for _ in range(size.depth))
        self.norm = nn.LayerNorm(size.width, eps=1e-6)
        self.apply(_initialise)

    def forward(self, clips: Tensor) -> Tensor:
        tokens = self.patch_embed(clips).flatten(2).transpose(1, 2) + self.positions
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens).transpose(1, 2).unflatten(2, self.places)


class _Block(nn.Module):
    """Self-attention and two layers on each token, each behind a norm and beside a shortcut."""

    def __init__(self, size: _Size) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(size.width, eps=1e-6)
        self.attn = _Attention(size)
        self.norm2 = nn.LayerNorm(size.width, eps=1e-6)
        self.mlp = _Mlp(size.width)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class _Attention(nn.Module):
    """Multi-head self-attention over all tokens of a clip, (N, L, D) to (N, L, D)."""

    def __init__(self, size: _Size) -> None:
        super().__init__()
        self.heads = size.heads
        self.qkv = nn.Linear(size.width, 3 * size.width)
        self.proj = nn.Linear(size.width, size.width)

    def forward(self, tokens: Tensor) -> Tensor:
        rows, length, width = tokens.shape
        by_head = self.qkv(tokens).reshape(rows, length, 3, self.heads, width // self.heads)
        query, key, value = by_head.permute(2, 0, 3, 1, 4)  # (N, heads, L, D / heads) each
        mixed = scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).reshape(rows, length, width))


class _Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(gelu(self.fc1(tokens)))


def _positions(places: tuple[int, int, int], width: int) -> Tensor:
    """Sine-cosine codes of the tokens' places, (1, L, D), a third of D for each of three axes.

    What a third of D leaves over stays zero.
    """
    axes = torch.meshgrid(*(torch.arange(count).float() for count in places), indexing="ij")
    waves = width // 6
    rates = 10_000.0 ** -(torch.arange(waves) / waves)
    angles = [axis.flatten()[:, None] * rates for axis in axes]
    codes = torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], dim=1)
    return nn.functional.pad(codes, (0, width - codes.shape[1]))[None]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
