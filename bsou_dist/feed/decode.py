"""Encoded clips to frames: the protocol, the plain decoder, and the choice of one for a codec and a device."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from bsou_dist.errors import InputError
from bsou_dist.shards.codec import EXTENSIONS, decode_frames

Request = tuple[bytes, dict[str, Any], np.ndarray]
"""Bytes of a clip member, its JSON record, and the indices of the frames wanted (int64, rising)."""

Item = TypeVar("Item")
Result = TypeVar("Result")
DecoderName = Literal["auto", "dali", "reference"]


class Decoder(Protocol):
    """Turns requests into frames."""

    device: torch.device
    """Where the frames are."""

    def decode(self, requests: Sequence[Request]) -> list[Tensor | Exception]:
        """uint8 (F, H, W) per request, or what went wrong with it; one bad clip does not harm the others."""


class ReferenceDecoder:
    """One clip after the other through `shards.codec`; CPU tensors for every codec."""

    device = torch.device("cpu")

    def decode(self, requests: Sequence[Request]) -> list[Tensor | Exception]:
        """See `Decoder.decode`."""
        return [attempt(lambda request: torch.from_numpy(decode_frames(*request)), request) for request in requests]


def attempt(function: Callable[[Item], Result], item: Item) -> Result | Exception:
    """The result of `function`, or what it raises.

    Damaged bytes make codecs raise almost anything, and one clip's failure must not be its neighbours'. Running out of
    memory and a failed assertion are no clip's fault and are raised.
    """
    try:
        return function(item)
    except (MemoryError, AssertionError):
        raise
    except Exception as error:
        return error


def make_decoder(name: DecoderName, codec: str, device: str, threads: int) -> Decoder:
    """Decoder of `codec` for tensors that are wanted on `device`.

    'auto' takes DALI for independent JPEG frames where it is installed, and the reference otherwise. H.264 through
    DALI (NVDEC) is to be asked for by name: it has not been measured.

    Raises:
        InputError: a codec that this program does not know, or DALI is asked for and is not installed or cannot decode
            the codec on this device; the message says how to pack again.
    """
    again = "pack the cohort again with 'bsou pack COHORT NEW_FOLDER codec=jpeg'"
    if codec not in EXTENSIONS:
        raise InputError(f"these shards are of codec {codec!r}, which cannot be decoded here (known: "
                         f"{', '.join(EXTENSIONS)}); take the program that packed them, or {again}")
    cuda = torch.device(device).type == "cuda"
    installed = importlib.util.find_spec("nvidia") is not None and importlib.util.find_spec("nvidia.dali") is not None
    if name == "dali":
        if not installed:
            raise InputError("decoder is 'dali' and NVIDIA DALI is not installed; "
                             "pip install nvidia-dali-cuda130, or set decoder to 'reference'")
        if codec == "h264" and not cuda:
            raise InputError("decoder is 'dali', and DALI decodes h264 on a GPU only; set decoder to 'reference', or "
                             f"{again}")
    if name == "reference" or not installed or (name == "auto" and codec != "jpeg"):
        return ReferenceDecoder()
    from bsou_dist.feed.dali import DaliDecoder  # an optional dependency that is slow to load

    return DaliDecoder(codec, device, threads if cuda else 1)  # on a CPU, whoever calls is one of several threads
