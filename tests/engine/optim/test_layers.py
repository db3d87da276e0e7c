"""The layers of the encoders that there are."""

from __future__ import annotations

import pytest

from bsou_dist.engine.optim.layers import layers_of
from bsou_dist.model.encoder import EncoderConfig, build_encoder

ENCODERS = {
    # name: frames, size, layers, and a name in the first and in the last layer
    "r3d_small": (4, 32, 5, "features.0.0.weight", "features.4.downsample.0.weight"),
    "r3d_18": (4, 32, 9, "features.0.1.bias", "features.4.1.conv2.1.bias"),
    "s3d": (16, 64, 11, "features.2.0.weight", "features.15.branch1.1.0.0.weight"),
    "swin3d_t": (4, 64, 16, "features.0.norm.bias", "features.3.bias"),
    "timm/vit_tiny_patch16_224": (
        1,
        224,
        13,
        "features.model.pos_embed",
        "features.model.norm.bias",
    ),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_blocks_are_layers_and_what_stands_beside_them_joins_the_one_before(name):
    frames, size_px, count, first, last = ENCODERS[name]
    config = EncoderConfig(name=name, weights="none")
    encoder = build_encoder(config, frames=frames, size_px=size_px)
    layers = layers_of(encoder)
    names = [name for layer in layers for name in layer]
    assert sorted(names) == sorted(name for name, _ in encoder.named_parameters())
    assert len(layers) == count
    assert first in layers[0]
    assert last in layers[-1]
