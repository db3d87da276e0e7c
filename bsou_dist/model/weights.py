"""Kinetics-400 weights from a local file, and a first layer that takes one grey channel."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision.models import get_model_weights

from bsou_dist.common.errors import InputError


def load_kinetics(network: nn.Module, name: str, weights: str) -> None:
    """Load `weights` ('kinetics400' or a path) into a three-channel torchvision video model.

    Nothing is downloaded: compute nodes rarely reach the network.

    Raises:
        InputError: no such file (the message names the one wanted), not a state dict, or of another
            model.
    """
    wanted = Path(get_model_weights(name)["KINETICS400_V1"].url).name
    cached = Path(torch.hub.get_dir()) / "checkpoints" / wanted
    path = cached if weights == "kinetics400" else Path(weights)
    if not path.is_file():
        raise InputError(
            f"encoder.weights is {weights!r}, but there is no file {path}. Put torchvision's "
            f"{wanted} there, "
            "or set encoder.weights to the path of that file, or to 'none' to start from random "
            "weights"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict(state)
    except (RuntimeError, pickle.UnpicklingError, EOFError, AttributeError, TypeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(
            error, pickle.UnpicklingError
        ):  # whose text recommends loading it all the same
            reason = "it is damaged, or holds more than tensors, which is not loaded"
        raise InputError(
            f"{path} does not hold the weights of {name} ({reason}); wanted: torchvision's {wanted}"
        ) from None


def use_one_channel(network: nn.Module) -> None:
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
