"""The layers of any encoder, from its input up, for rates that fall from layer to layer.

What counts as a layer is seen from how a network is built: where modules of one kind with parts of
their own are stacked (the blocks of a transformer, the stages of a ResNet), each of them is one.
What stands beside a stack belongs to the layer before it, so that a last norm is part of the last
block and position codes of the first layer.
"""

from __future__ import annotations

from collections import Counter

from torch import nn


def layers_of(encoder: nn.Module) -> list[list[str]]:
    """Names of the parameters of every layer that has any, the input's first.

    A network without a stack is one layer.
    """
    layers: list[list[str]] = [[]]
    _add(encoder, "", layers)
    return [names for names in layers if names]


def blocks_of(encoder: nn.Module) -> list[nn.Module]:
    """The blocks that are stacked in an encoder and hold no stack themselves, the input's first."""
    return [
        part
        for module in encoder.modules()
        for name, part in module.named_children()
        if name in _blocks(module) and not _has_stack(part)
    ]


def _add(module: nn.Module, prefix: str, layers: list[list[str]]) -> None:
    """Add what `module` holds to the layers so far, in the order of its parts."""
    layers[-1] += [prefix + name for name, _ in module.named_parameters(recurse=False)]
    blocks = _blocks(module)
    for name, part in module.named_children():
        begins = name in blocks and layers[-1] and not _has_stack(part)
        if begins:
            layers.append([])
        if _has_stack(part):
            _add(part, f"{prefix}{name}.", layers)
        else:
            layers[-1] += [f"{prefix}{name}.{own}" for own, _ in part.named_parameters()]


def _blocks(module: nn.Module) -> set[str]:
    """Names of the parts that are stacked here; none where `module` is no stack."""
    if not isinstance(module, nn.Sequential | nn.ModuleList):
        return set()
    kinds = Counter(type(part) for part in module if _is_composite(part))
    if not kinds or max(kinds.values()) < 2:
        return set()
    return {name for name, part in module.named_children() if _is_composite(part)}


def _has_stack(module: nn.Module) -> bool:
    return any(_blocks(part) for part in module.modules())


def _is_composite(module: nn.Module) -> bool:
    """Whether a module has parts, and is more than a convolution with its norm and activation."""
    parts = list(module.children())
    if isinstance(module, nn.Sequential):
        return any(True for part in parts for _ in part.children())
    return bool(parts)
