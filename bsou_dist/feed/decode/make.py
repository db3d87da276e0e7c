"""The decoder for a codec and a device."""

from __future__ import annotations

import importlib.util
from typing import Literal

import torch

from bsou_dist.common.errors import InputError
from bsou_dist.feed.decode.protocol import Decoder
from bsou_dist.feed.decode.reference import ReferenceDecoder
from bsou_dist.shards.codec import EXTENSIONS

DecoderName = Literal["auto", "dali", "reference"]


def make_decoder(name: DecoderName, codec: str, device: str, threads: int) -> Decoder:
    """Decoder of `codec` for tensors that are wanted on `device`.

    'auto' takes DALI for independent JPEG frames where it is installed, and the reference
    otherwise. H.264 through DALI (NVDEC) is to be asked for by name: it has not been measured.
    `threads` is how many DALI uses for a GPU.

    Raises:
        InputError: a codec that this program does not know, or DALI is asked for and is not
            installed or cannot decode the codec on this device; the message says how to pack again.
    """
    again = "pack the cohort again with 'bsou pack COHORT NEW_FOLDER codec=jpeg'"
    if codec not in EXTENSIONS:
        raise InputError(
            f"these shards are of codec {codec!r}, which cannot be decoded here (known: "
            f"{', '.join(EXTENSIONS)}); take the program that packed them, or {again}"
        )
    cuda = torch.device(device).type == "cuda"
    installed = _dali_is_installed()
    if name == "dali":
        if not installed:
            raise InputError(
                "decoder is 'dali' and NVIDIA DALI is not installed; "
                "pip install nvidia-dali-cuda130, or set decoder to 'reference'"
            )
        if codec == "h264" and not cuda:
            raise InputError(
                "decoder is 'dali', and DALI decodes h264 on a GPU only; set decoder to "
                f"'reference', or {again}"
            )
    wanted = name == "dali" or (name == "auto" and codec == "jpeg")
    if not (wanted and installed):
        return ReferenceDecoder()
    # Here, since DALI is an optional dependency that is slow to load.
    from bsou_dist.feed.decode.dali import DaliDecoder

    # On a CPU, whoever calls is one of several threads already.
    return DaliDecoder(codec, device, threads if cuda else 1)


def _dali_is_installed() -> bool:
    # In two steps: to look for a part of a package that is not there is an error.
    return (
        importlib.util.find_spec("nvidia") is not None
        and importlib.util.find_spec("nvidia.dali") is not None
    )
