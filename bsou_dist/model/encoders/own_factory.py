"""Encoders of one's own: a factory that a config names as 'package.module:factory'."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bsou_dist.common.errors import InputError
from bsou_dist.model.encoders.backbone import Backbone, as_map
from bsou_dist.model.encoders.no_rows import no_rows_of, takes_no_rows

IS_FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def check_trusted(name: str, trusted: str | None, path: Path) -> None:
    """Refuse to run a factory because a file names it: files come from others.

    Args:
        name: of an encoder of any kind, as the file has it.
        trusted: the factory that the user's own config or command names.
        path: the file.

    Raises:
        InputError: it is a factory, and another one than `trusted`.
    """
    if IS_FACTORY.fullmatch(name) and name != trusted:
        raise InputError(
            f"{path} says that its encoder is made by {name!r}, which is code that would be run; "
            f"if you trust it, name it yourself: --trust-encoder {name}, or encoder.name in the "
            "config of a run that starts from it"
        )


def own_encoder(
    name: str, channels: int, options: Mapping[str, Any], *, frames: int, size_px: int
) -> Backbone:
    """Make a network by the factory that `name` says, and find its D.

    The factory is called as `factory(channels=..., frames=..., size_px=..., **options)` and returns
    a module from clips (N, channels, frames, size_px, size_px), normalised, to embeddings (N, D).
    D is the module's attribute `dim` where it has that, else what it makes of one blank clip.

    Raises:
        InputError: nothing of this name can be imported, it refuses these arguments, or what it
            makes does not keep to the above.
    """
    network = _made(name, {"channels": channels, "frames": frames, "size_px": size_px, **options})
    shape = (1, channels, frames, size_px, size_px)
    dim = getattr(network, "dim", None)
    if not isinstance(dim, int):
        dim = _probed(name, network, torch.zeros(shape))
    return Backbone(network, _OwnFeatures(network, name, shape[1:], dim), dim)


def _made(name: str, arguments: dict[str, Any]) -> nn.Module:
    module_name, _, attribute = name.partition(":")
    try:
        factory = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"encoder.name is {name!r}, and that cannot be imported ({error}); install the "
            "package, or put its folder on PYTHONPATH"
        ) from None
    called = f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"
    try:
        network = factory(**arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{called} failed ({type(error).__name__}: {' '.join(str(error).split())}); it must "
            "take channels, frames, size_px and what encoder.options says"
        ) from error
    if not isinstance(network, nn.Module):
        raise InputError(f"{called} gave {type(network).__name__}; it must return a torch module")
    return network


def _probed(name: str, network: nn.Module, blank: Tensor) -> int:
    """D, from one blank clip."""
    was_training = network.training
    try:
        with torch.no_grad():
            found = network.eval()(blank)
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"the module of {name} failed on clips {tuple(blank.shape)} on the CPU "
            f"({type(error).__name__}: {' '.join(str(error).split())}); mend that, set "
            "encoder.channels, feed.frames or feed.size_px, or give the module its width as 'dim'"
        ) from error
    finally:
        network.train(was_training)
    if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != 1:
        raise InputError(_wrong_answer(name, blank, found, "D"))
    return found.shape[1]


def _wrong_answer(name: str, clips: Tensor, found: object, dim: object) -> str:
    shown = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
    return (
        f"the module of {name} makes {shown} of clips {tuple(clips.shape)}; it must make "
        f"embeddings ({len(clips)}, {dim}), a row per clip"
    )


class _OwnFeatures(nn.Module):
    """Clips (N, 1, F, H, W) to a map of one place, (N, D, 1, 1, 1)."""

    def __init__(self, network: nn.Module, name: str, clip: tuple[int, ...], dim: int) -> None:
        super().__init__()
        self.network = network
        self._name, self._channels, self._dim = name, clip[0], dim
        self._takes_no_rows = takes_no_rows(network, clip)

    def forward(self, clips: Tensor) -> Tensor:
        clips = clips.expand(-1, self._channels, -1, -1, -1)
        if len(clips) or self._takes_no_rows:
            found = self.network(clips)
        else:
            found = no_rows_of(self.network, clips)
        if not isinstance(found, Tensor) or found.shape != (len(clips), self._dim):
            raise InputError(_wrong_answer(self._name, clips, found, self._dim))
        return as_map(found)
