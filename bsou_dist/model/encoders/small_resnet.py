"""A small video ResNet for CPUs."""

from __future__ import annotations

from torch import nn
from torchvision.models.video.resnet import BasicBlock, Conv3DSimple

from bsou_dist.model.encoders.backbone import Backbone

SMALL = "r3d_small"
"""Its name: r3d's stem and four stages, one block each, a quarter as wide (128-d)."""


def small_resnet() -> Backbone:
    """The network, at random weights; it has no published ones."""
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
    return Backbone(network, network, 128)
