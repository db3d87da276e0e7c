"""Video encoders: clips to a feature map and its pooled embedding, one grey channel in."""

from __future__ import annotations

from pydantic import field_validator
from torch import Tensor, nn
from torchvision.models import get_model, list_models, video
from torchvision.models.video.mvit import MViT
from torchvision.models.video.resnet import BasicBlock, Conv3DSimple, VideoResNet
from torchvision.models.video.s3d import S3D
from torchvision.models.video.swin_transformer import SwinTransformer3d
from torchvision.ops.misc import Permute

from bsou_dist.common.errors import InputError
from bsou_dist.common.strict_config import StrictConfig
from bsou_dist.model.norm import Norm, with_norm
from bsou_dist.model.weights import load_kinetics, use_one_channel

SMALL = "r3d_small"
"""A preset for CPUs: r3d's stem and four stages, one block each, a quarter as wide (128-d)."""


MVIT_SHAPE = (16, 224)  # frames, px


def encoder_names() -> list[str]:
    """Names that `EncoderConfig.name` takes."""
    return [SMALL, *list_models(module=video)]


class EncoderConfig(StrictConfig):
    """Name of the encoder, how it starts, and its norm layers.

    `weights` is 'none' (random), 'kinetics400' (from torch hub's cache) or the path of a file with
    the same content. `norm` replaces an encoder's batch norm; swin3d and mvit have layer norm,
    which every setting leaves as it is.

    - `batch`: statistics of the rows that one process holds, so that a step depends on how the
      global batch is cut.
    - `sync_batch`: statistics of all rows of all processes (GPU only): equal to one process with
      `batch`, but for rounding, at a price in communication per layer. Gradient caching cuts a
      batch all the same.
    - `frozen_batch`: stored statistics, those of Kinetics-400: no row depends on another. Needs
      weights that hold them.
    - `group` (Wu and He, 2018): statistics of each row alone. A step is the same on any number of
      processes, cached or not; what tests compare across ranks uses it.
    """

    name: str = "r3d_18"
    weights: str = "kinetics400"
    norm: Norm = "batch"

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in encoder_names():
            raise ValueError(f"{name!r} is not an encoder; known: {', '.join(encoder_names())}")
        return name


class Encoder(nn.Module):
    """Clips (B, 1, F, H, W), normalised, to a feature map (B, C, F', H', W') and its mean (B, C).

    The mean is the embedding.
    """

    def __init__(self, features: nn.Module, dim: int) -> None:
        super().__init__()
        self.features = features
        self.dim = dim

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        feature_map = self.features(clips)
        return feature_map, feature_map.mean(dim=(2, 3, 4))


def build_encoder(config: EncoderConfig, *, frames: int, size_px: int) -> Encoder:
    """The encoder for clips of `frames` x `size_px` x `size_px`.

    Raises:
        InputError: the weights asked for are not there or do not fit (the message names the file
            wanted), or the encoder does not take clips of this shape.
    """
    if config.name.startswith("mvit") and (frames, size_px) != MVIT_SHAPE:
        raise InputError(
            f"{config.name} takes {MVIT_SHAPE[0]} frames of {MVIT_SHAPE[1]} px only, its position "
            "codes "
            f"being fixed; got {frames} of {size_px}. Set feed.frames and feed.size_px so"
        )
    if config.name == SMALL:
        if config.weights != "none":
            raise InputError(
                f"encoder.weights is {config.weights!r}, but {SMALL} has no published weights: "
                "use 'none'"
            )
        features, dim = _small_resnet(), 128
    else:
        network = get_model(config.name, weights=None)
        if config.weights != "none":
            load_kinetics(network, config.name, config.weights)
        use_one_channel(network)
        features, dim = _features(network)
    return Encoder(with_norm(features, config.norm), dim)


def _small_resnet() -> nn.Module:
    stem = nn.Sequential(
        nn.Conv3d(1, 16, kernel_size=(3, 7, 7), stride=(1, 2, 2), padding=(1, 3, 3), bias=False),
        nn.BatchNorm3d(16),
        nn.ReLU(inplace=True),
    )
    stages = [BasicBlock(16, 16, Conv3DSimple)]
    for width in (16, 32, 64):
        shortcut = nn.Sequential(
            nn.Conv3d(width, 2 * width, kernel_size=1, stride=2, bias=False),
            nn.BatchNorm3d(2 * width),
        )
        stages.append(BasicBlock(width, 2 * width, Conv3DSimple, stride=2, downsample=shortcut))
    network = nn.Sequential(stem, *stages)
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network


def _features(network: nn.Module) -> tuple[nn.Module, int]:
    """The part of a torchvision video model that makes the feature map; and its C.

    The map is (B, C, F', H', W').
    """
    if isinstance(network, VideoResNet):
        stages = (network.layer1, network.layer2, network.layer3, network.layer4)
        return nn.Sequential(network.stem, *stages), network.fc.in_features
    if isinstance(network, S3D):
        return network.features, 1024
    if isinstance(network, MViT):
        return _MViTFeatures(network), network.norm.normalized_shape[0]
    assert isinstance(network, SwinTransformer3d), type(network)
    to_channels_first = Permute([0, 4, 1, 2, 3])
    swin = nn.Sequential(
        network.patch_embed, network.pos_drop, network.features, network.norm, to_channels_first
    )
    return swin, network.num_features


class _MViTFeatures(nn.Module):
    """MViT up to its norm, patch tokens laid out as a map.

    Its class token has no place on it and is left out.
    """

    def __init__(self, network: MViT) -> None:
        super().__init__()
        self.conv_proj, self.pos_encoding = network.conv_proj, network.pos_encoding
        self.blocks, self.norm = network.blocks, network.norm

    def forward(self, clips: Tensor) -> Tensor:
        if len(clips) == 0:  # its reshapes do not take it; one blank clip does, and leaves no trace
            return self(clips.new_zeros(1, *clips.shape[1:]))[:0]
        tokens = self.pos_encoding(self.conv_proj(clips).flatten(2).transpose(1, 2))
        shape = (self.pos_encoding.temporal_size, *self.pos_encoding.spatial_size)
        for block in self.blocks:
            tokens, shape = block(tokens, shape)
        return self.norm(tokens)[:, 1:].transpose(1, 2).unflatten(2, shape)
