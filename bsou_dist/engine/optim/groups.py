"""Groups of parameters that share a rate and a weight decay."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from bsou_dist.common.errors import InputError
from bsou_dist.engine.optim.config import BY_LAYER, OptimConfig
from bsou_dist.engine.optim.layers import layers_of

SHOWN_NAMES = 5


def parameter_groups(network: nn.Module, optim: OptimConfig) -> list[dict[str, Any]]:
    """The groups of a network's trainable parameters, as an optimizer takes them.

    Beside what the optimizer reads, `rate` is the group's multiple of the learning rate. Norm
    layers and biases, which have one dimension, have no weight decay.

    Raises:
        InputError: nothing to train, a pattern that matches no name, or a decay by layers of a
            network without an encoder.
    """
    check_patterns(network, (group.match for group in optim.groups), "optim.groups")
    by_layer = _layer_rates(network, optim.layer_decay)
    groups: dict[tuple[float, float, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        rate = by_layer.get(name, 1.0)
        weight_decay = optim.weight_decay
        own = next((group for group in optim.groups if fnmatchcase(name, group.match)), None)
        if own is not None:
            rate *= own.rate
            weight_decay = weight_decay if own.weight_decay is None else own.weight_decay
        has_norm_or_bias = parameter.ndim <= 1
        weight_decay = 0.0 if has_norm_or_bias else weight_decay
        # LARS and LAMB treat weights in another way, with and without a decay.
        apart = has_norm_or_bias and optim.name in BY_LAYER
        groups.setdefault((rate, weight_decay, apart), []).append(parameter)
    if not groups:
        raise InputError("there is nothing to train: every parameter of the network is frozen")
    return [_group(optim, *key, parameters) for key, parameters in groups.items()]


def check_patterns(network: nn.Module, patterns: Iterable[str], key: str) -> None:
    """InputError for a pattern under `key` that matches no parameter's name."""
    names = [name for name, _ in network.named_parameters()]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            some = names[:: max(1, len(names) // SHOWN_NAMES)]
            raise InputError(
                f"{key}: no parameter's name matches {pattern!r}; there are such as "
                f"{', '.join(some)}"
            )


def _group(
    optim: OptimConfig,
    rate: float,
    weight_decay: float,
    apart: bool,
    parameters: list[nn.Parameter],
) -> dict[str, Any]:
    group = {
        "params": parameters,
        "rate": rate,
        "lr": rate * optim.learning_rate,
        "weight_decay": weight_decay,
    }
    if optim.name in BY_LAYER:
        # timm adapts to a tensor's norm only where it has a weight decay, unless told so.
        group["always_adapt"] = not apart
    return group


def _layer_rates(network: nn.Module, layer_decay: float) -> dict[str, float]:
    """Multiples of the learning rate by name, for the parameters of the encoder."""
    if layer_decay == 1.0:
        return {}
    encoder = getattr(network, "encoder", None)
    if encoder is None:
        raise InputError(
            f"optim.layer_decay is {layer_decay}, but this network has no encoder whose layers it "
            "could be for (finetune.encoder is 'frozen'): leave it out"
        )
    layers = layers_of(encoder)
    return {
        f"encoder.{name}": layer_decay ** (len(layers) - number)
        for number, names in enumerate(layers)
        for name in names
    }
