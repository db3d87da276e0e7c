"""Weights of an encoder from a file of PyTorch or safetensors, by a map of names."""

from __future__ import annotations

import difflib
import pickle
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from bsou_dist.common.errors import InputError
from bsou_dist.model.encoders.backbone import Backbone

HOLDERS = ("state_dict", "model_state_dict", "model", "network", "module")
"""Entries of a file under which others keep the tensors, beside an optimizer's for example."""
COUNTERS = "num_batches_tracked"
"""Batch norm's counters, which many files lack and nothing here needs."""
MOST_NAMES = 8
"""Names of tensors that a message lists of each kind."""


@dataclass(frozen=True)
class WeightReport:
    """What a file gave to a backbone."""

    path: Path
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    """Tensors of the backbone that the file lacks; they stay as they were made."""
    left_over: tuple[str, ...]
    """Tensors of the file, by their names there, that the backbone has no place for."""

    def __str__(self) -> str:
        total = len(self.loaded) + len(self.missing)
        sentences = [f"encoder.weights: {len(self.loaded)} of {total} tensors from {self.path}"]
        if self.missing:
            sentences.append(f"missing and left as made: {_listed(self.missing)}")
        if self.left_over:
            sentences.append(f"left over in the file: {_listed(self.left_over)}")
        return "; ".join(sentences)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file by name; nothing else of it is unpickled.

    Raises:
        InputError: no such file, a damaged one, or one that holds more than tensors.
    """
    if not path.is_file():
        raise InputError(f"encoder.weights: there is no file {path}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (
        RuntimeError,
        EOFError,
        AttributeError,
        TypeError,
        pickle.UnpicklingError,
        SafetensorError,
    ) as error:
        reason = " ".join(str(error).split())
        if isinstance(
            error, pickle.UnpicklingError
        ):  # whose text recommends loading it all the same
            reason = "it is damaged, or holds more than tensors, which is not loaded"
        raise InputError(f"{path} cannot be read as weights ({reason})") from None
    return _tensors(content, path)


def _tensors(content: object, path: Path) -> dict[str, Tensor]:
    """The tensors of a file, which may lie under one of `HOLDERS`."""
    held = [content]
    if isinstance(content, Mapping):
        held += [content[name] for name in HOLDERS if name in content]
    for candidate in held:
        if isinstance(candidate, Mapping) and candidate:
            tensors = {name: value for name, value in candidate.items() if _is_named(name, value)}
            if len(tensors) == len(candidate):
                return tensors
    raise InputError(
        f"{path} holds no tensors by name, neither at its top nor under {', '.join(HOLDERS)}"
    )


def _is_named(name: object, value: object) -> bool:
    return isinstance(name, str) and isinstance(value, Tensor)


def load_weights(
    backbone: Backbone, path: Path, key_map: Mapping[str, str], *, whole: bool = False
) -> WeightReport:
    """Load what fits of a file into a backbone.

    A convolution over RGB enters one over a grey channel by the sum of its weights, which is exact
    for grey input that would be repeated over three channels normalised alike.

    Args:
        backbone: the network, changed in place.
        path: the file.
        key_map: regular expressions and their replacements, applied in turn to every name.
        whole: whether a backbone that is filled in part is refused.

    Raises:
        InputError: the file cannot be read, two of its names become one, nothing fits, something
            has another shape, or something is missing where the `whole` is wanted.
    """
    tensors = read_weights(path)
    names = _renamed(tensors, key_map)
    wanted = backbone.network.state_dict()
    ours = backbone.names
    loaded = sorted(ours & names.keys())
    if not loaded:
        raise InputError(_nothing_fits(path, sorted(ours), list(names)))
    fitted = {name: _fitted(tensors[names[name]], wanted[name]) for name in loaded}
    misfits = [
        f"{name} {tuple(tensors[names[name]].shape)} instead of {tuple(wanted[name].shape)}"
        for name, tensor in fitted.items()
        if tensor.shape != wanted[name].shape
    ]
    if misfits:
        raise InputError(
            f"{path} does not fit the encoder: it has {_listed(misfits)}. Give a file of the same "
            "network and size, or rename with encoder.key_map what must not be loaded"
        )
    missing = sorted(name for name in ours - set(loaded) if not name.endswith(COUNTERS))
    if missing and whole:
        raise InputError(f"{path} lacks {_listed(missing)} of the encoder; copy it again")
    backbone.network.load_state_dict(fitted, strict=False)
    left_over = sorted(names[name] for name in names.keys() - ours)
    return WeightReport(path, tuple(loaded), tuple(missing), tuple(left_over))


def _renamed(tensors: Mapping[str, Tensor], key_map: Mapping[str, str]) -> dict[str, str]:
    """The file's names by the names that the map makes of them."""
    names: dict[str, str] = {}
    for name in tensors:
        renamed = name
        for pattern, replacement in key_map.items():
            renamed = re.sub(pattern, replacement, renamed)
        if renamed in names:
            raise InputError(
                f"encoder.key_map makes {renamed!r} of both {names[renamed]!r} and {name!r}"
            )
        names[renamed] = name
    return names


def _fitted(tensor: Tensor, wanted: Tensor) -> Tensor:
    """A tensor, or the sum over its three input channels where one is wanted."""
    rgb = tensor.ndim == wanted.ndim >= 4 and tensor.shape[1] == 3 and wanted.shape[1] == 1
    return tensor.sum(dim=1, keepdim=True) if rgb else tensor


def _nothing_fits(path: Path, ours: Sequence[str], theirs: Sequence[str]) -> str:
    near = difflib.get_close_matches(ours[0], theirs, n=1, cutoff=0.3)
    example = f"; {near[0]!r} there may be {ours[0]!r} here" if near else ""
    return (
        f"nothing in {path} fits the encoder: it has {_listed(theirs)}, and wanted are "
        f"{_listed(ours)}{example}. Set encoder.key_map, such as {{'^encoder\\.': ''}}"
    )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
