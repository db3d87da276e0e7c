"""Encoders: clips to a feature map and its pooled embedding, one grey channel in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import field_validator, model_validator
from torch import Tensor, nn

from bsou_dist.common.errors import InputError
from bsou_dist.common.strict_config import StrictConfig
from bsou_dist.model.encoders.backbone import Backbone
from bsou_dist.model.encoders.own_factory import IS_FACTORY, own_encoder
from bsou_dist.model.encoders.small_resnet import SMALL, small_resnet
from bsou_dist.model.encoders.temporal_pool import TemporalPool
from bsou_dist.model.encoders.torchvision_video import (
    kinetics_file,
    torchvision_names,
    torchvision_video,
)
from bsou_dist.model.encoders.video_vit import SIZES, video_vit
from bsou_dist.model.norm import Norm, check_statistics, with_norm
from bsou_dist.model.weight_file import WeightReport, load_weights

KINETICS = "kinetics400"
TIMM = "timm/"
"""What names of timm's models begin with."""


def encoder_names() -> list[str]:
    """Names that `EncoderConfig.name` takes, beside timm's and factories of one's own."""
    return [SMALL, *SIZES, *torchvision_names()]


class EncoderConfig(StrictConfig):
    """Name of the encoder, how it starts, and its norm layers.

    `name` is one of `encoder_names`, an image model of timm over frames ('timm/resnet18'), or a
    factory of one's own ('package.module:factory', see `encoders/own_factory`).

    `weights` is 'none' (random, or as a factory makes it), 'kinetics400' (torchvision's, from torch
    hub's cache) or the path of a file (`weight_file`).

    `norm` replaces an encoder's batch norm; layer norm stays as it is whatever the setting.

    - `batch`: statistics of the rows that one process holds, so that a step depends on how the
      global batch is cut.
    - `sync_batch`: statistics of all rows of all processes (GPU only): equal to one process with
      `batch`, but for rounding, at a price in communication per layer. Gradient caching cuts a
      batch all the same.
    - `frozen_batch`: stored statistics, those of the weights: no row depends on another. Needs
      weights that hold them.
    - `group` (Wu and He, 2018): statistics of each row alone. A step is the same on any number of
      processes, cached or not; what tests compare across ranks uses it.
    """

    name: str = "r3d_18"
    weights: str = KINETICS
    key_map: dict[str, str] = {}
    """Regular expressions and what takes their place in the names of a file's tensors, in turn."""
    norm: Norm = "batch"
    temporal_pool: TemporalPool = "mean"
    """Of timm's models: how the embeddings of frames become that of a clip."""
    channels: Literal[1, 3] = 1
    """Of one's own encoder: channels it takes; with 3 the grey one is repeated."""
    options: dict[str, Any] = {}
    """Of one's own encoder: further arguments for the factory."""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name in encoder_names() or name.startswith(TIMM) or IS_FACTORY.fullmatch(name):
            return name
        raise ValueError(
            f"{name!r} is not an encoder; known: {', '.join(encoder_names())}, timm/MODEL and "
            "package.module:factory"
        )

    @field_validator("key_map")
    @classmethod
    def _patterns(cls, key_map: dict[str, str]) -> dict[str, str]:
        for pattern, replacement in key_map.items():
            try:
                re.sub(pattern, replacement, "")
            except (re.error, IndexError) as error:
                raise ValueError(
                    f"{pattern!r}: {replacement!r} is no regular expression with its replacement "
                    f"({error})"
                ) from None
        return key_map

    @model_validator(mode="after")
    def _of_this_kind(self) -> EncoderConfig:
        kinds = {
            "temporal_pool": (self.name.startswith(TIMM), "models of timm"),
            "channels": (":" in self.name, "a factory of one's own"),
            "options": (":" in self.name, "a factory of one's own"),
            "key_map": (self.weights not in ("none", KINETICS), "a file of weights"),
        }
        for field, (is_for_this, what) in kinds.items():
            default = type(self).model_fields[field].default
            if getattr(self, field) != default and not is_for_this:
                raise ValueError(f"{field} is for {what}, which name and weights do not ask for")
        if self.weights == KINETICS and self.name not in torchvision_names():
            raise ValueError(
                f"weights is {KINETICS!r}, but there are none of {self.name}: set weights to "
                "'none' or to the path of a file"
            )
        return self


class Encoder(nn.Module):
    """Clips (B, 1, F, H, W), normalised, to a feature map (B, C, F', H', W') and its mean (B, C).

    The mean is the embedding. Encoders that pool in a way of their own have a map of one place.

    Attributes:
        report: what a file of weights gave; None without one.
    """

    def __init__(self, features: nn.Module, dim: int, report: WeightReport | None = None) -> None:
        super().__init__()
        self.features = features
        self.dim = dim
        self.report = report

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        feature_map = self.features(clips)
        return feature_map, feature_map.mean(dim=(2, 3, 4))


def build_encoder(config: EncoderConfig, *, frames: int, size_px: int) -> Encoder:
    """The encoder for clips of `frames` x `size_px` x `size_px`.

    Raises:
        InputError: there is no such encoder, it does not take clips of this shape, or the weights
            asked for are not there or do not fit (the message names the file wanted).
    """
    backbone = _backbone(config, frames=frames, size_px=size_px)
    report = _load(config, backbone)
    if report and config.norm == "frozen_batch":
        check_statistics(report.missing)
    features = with_norm(backbone.features, config.norm)
    return Encoder(features, backbone.dim, report)


def _backbone(config: EncoderConfig, *, frames: int, size_px: int) -> Backbone:
    if config.name == SMALL:
        return small_resnet()
    if config.name in SIZES:
        return video_vit(config.name, frames=frames, size_px=size_px)
    if config.name.startswith(TIMM):
        # Here, since who takes another encoder need not wait for its import.
        from bsou_dist.model.encoders.timm_frames import timm_frames

        model_name = config.name.removeprefix(TIMM)
        return timm_frames(model_name, config.temporal_pool, size_px=size_px)
    if ":" in config.name:
        return own_encoder(
            config.name, config.channels, config.options, frames=frames, size_px=size_px
        )
    return torchvision_video(config.name, frames=frames, size_px=size_px)


def _load(config: EncoderConfig, backbone: Backbone) -> WeightReport | None:
    if config.weights == "none":
        return None
    published = config.name in torchvision_names()
    is_cached = config.weights == KINETICS
    path = kinetics_file(config.name) if is_cached else Path(config.weights)
    if published and not path.is_file():
        wanted = kinetics_file(config.name).name
        raise InputError(
            f"encoder.weights is {config.weights!r}, but there is no file {path}. Put "
            f"torchvision's {wanted} there, or set encoder.weights to the path of that file, or "
            "to 'none' to start from random weights"
        )
    return load_weights(backbone, path, config.key_map, whole=is_cached)
