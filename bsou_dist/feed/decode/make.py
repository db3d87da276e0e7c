"""The decoder for a codec and a device: chosen by their names, made where it is used."""

from __future__ import annotations

import importlib.util
from typing import Literal

import torch

from bsou_dist.common.errors import InputError
from bsou_dist.feed.decode.protocol import Decoder
from bsou_dist.feed.decode.reference import ReferenceDecoder
from bsou_dist.shards.codec import EXTENSIONS

DecoderName = Literal["auto", "dali", "reference"]
ChosenDecoder = Literal["dali", "reference"]


def choose_decoder(name: DecoderName, codec: str, device: str) -> ChosenDecoder:
    """Choose the decoder of `codec` for tensors that are wanted on `device`.

    'auto' takes DALI for independent JPEG frames where it is installed, and the reference
    otherwise. H.264 through DALI (NVDEC) is to be asked for by name: it has not been measured.

    Only names are looked at, and nothing is made: a config may be checked on another machine than
    it will run on.

    Raises:
        InputError: a codec that this program does not know, or DALI is asked for and cannot decode
            the codec on such a device; the message says how to pack again.
    """
    again = "pack the cohort again with 'bsou pack COHORT NEW_FOLDER codec=jpeg'"
    if codec not in EXTENSIONS:
        raise InputError(
            f"these shards are of codec {codec!r}, which cannot be decoded here (known: "
            f"{', '.join(EXTENSIONS)}); take the program that packed them, or {again}"
        )
    if name == "dali" and codec == "h264" and not _is_cuda(device):
        raise InputError(
            "decoder is 'dali', and DALI decodes h264 on a GPU only; set decoder to "
            f"'reference', or {again}"
        )
    if name == "auto":
        return "dali" if codec == "jpeg" and _dali_is_installed() else "reference"
    return name


def check_installed(name: DecoderName) -> None:
    """Check that the decoder which a config asks for is installed on this machine.

    Raises:
        InputError: it is not.
    """
    if name == "dali" and not _dali_is_installed():
        raise InputError(
            "decoder is 'dali' and NVIDIA DALI is not installed; pip install nvidia-dali-cuda130 "
            "(nvidia-dali-cuda120 for CUDA 12), or set decoder to 'reference'"
        )


def decoded_on(chosen: ChosenDecoder, device: str) -> str:
    """The device that frames are decoded on, where they are wanted on `device`."""
    return device if chosen == "dali" else "cpu"


def make_decoder(chosen: ChosenDecoder, codec: str, device: str, threads: int) -> Decoder:
    """Make a decoder that `choose_decoder` has chosen, on a device that is there.

    `threads` is how many DALI uses for a GPU.

    Raises:
        InputError: as `check_installed`.
    """
    if chosen == "reference":
        return ReferenceDecoder()
    check_installed(chosen)
    # Here, since DALI is an optional dependency that is slow to load.
    from bsou_dist.feed.decode.dali import DaliDecoder

    # On a CPU, whoever calls is one of several threads already.
    return DaliDecoder(codec, device, threads if _is_cuda(device) else 1)


def _is_cuda(device: str) -> bool:
    return torch.device(device).type == "cuda"


def _dali_is_installed() -> bool:
    # In two steps: to look for a part of a package that is not there is an error.
    return (
        importlib.util.find_spec("nvidia") is not None
        and importlib.util.find_spec("nvidia.dali") is not None
    )
