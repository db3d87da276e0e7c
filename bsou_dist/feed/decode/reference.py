"""The plain decoder that every faster one is held to."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bsou_dist.feed.decode.protocol import Request, attempt
from bsou_dist.shards.codec import decode_frames


class ReferenceDecoder:
    """Decodes one clip after the other through `shards.codec`; CPU tensors for every codec."""

    device = torch.device("cpu")

    def decode(self, requests: Sequence[Request]) -> list[Tensor | Exception]:
        """See `Decoder.decode`."""
        return [attempt(_decode, request) for request in requests]


def _decode(request: Request) -> Tensor:
    data, record, indices = request
    return torch.from_numpy(decode_frames(data, record, indices))
