"""Video models of torchvision, with a first layer that takes one grey channel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights, list_models, video
from torchvision.models.video.mvit import MViT
from torchvision.models.video.resnet import VideoResNet
from torchvision.models.video.s3d import S3D
from torchvision.models.video.swin_transformer import SwinTransformer3d
from torchvision.ops.misc import Permute

from bsou_dist.common.errors import InputError
from bsou_dist.model.encoders.backbone import Backbone

MVIT_SHAPE = (16, 224)  # frames, px


def torchvision_names() -> list[str]:
    """Names of the video models that torchvision has."""
    names: list[str] = list_models(module=video)
    return names


def torchvision_video(name: str, *, frames: int, size_px: int) -> Backbone:
    """The video model `name`, at random weights.

    Raises:
        InputError: it does not take clips of `frames` x `size_px` x `size_px`.
    """
    if name.startswith("mvit") and (frames, size_px) != MVIT_SHAPE:
        raise InputError(
            f"{name} takes {MVIT_SHAPE[0]} frames of {MVIT_SHAPE[1]} px only, its position codes "
            f"being fixed; got {frames} of {size_px}. Set feed.frames and feed.size_px so"
        )
    network = get_model(name, weights=None)
    _use_one_channel(network)
    features, dim = _features(network)
    return Backbone(network, features, dim)


def kinetics_file(name: str) -> Path:
    """Where torch hub's cache would have the Kinetics-400 weights of the model `name`.

    Nothing is downloaded: compute nodes rarely reach the network.
    """
    file_name = Path(get_model_weights(name)["KINETICS400_V1"].url).name
    return Path(torch.hub.get_dir()) / "checkpoints" / file_name


def _use_one_channel(network: nn.Module) -> None:
    """Make the first convolution take one grey channel, its weights summed over RGB.

    Exact for grey input that was repeated over three channels normalised with one mean and
    deviation.
    """
    for parent in network.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.Conv3d) and child.in_channels == 3:
                # torch types these as tuples of any length and takes only triples.
                shape: dict[str, Any] = {
                    "kernel_size": child.kernel_size,
                    "stride": child.stride,
                    "padding": child.padding,
                }
                grey = nn.Conv3d(1, child.out_channels, **shape, bias=child.bias is not None)
                with torch.no_grad():
                    grey.weight.copy_(child.weight.sum(dim=1, keepdim=True))
                    if child.bias is not None and grey.bias is not None:
                        grey.bias.copy_(child.bias)
                setattr(parent, name, grey)
                return
    raise AssertionError("no three-channel first convolution")


def _features(network: nn.Module) -> tuple[nn.Module, int]:
    """The part of a video model that makes the feature map (B, C, F', H', W'); and its C."""
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
