"""The decoder protocol, and a way to keep one clip's failure its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from bsou_dist.common.errors import WorkFailed
from bsou_dist.shards.codec import Encoded

Request = tuple[Encoded, dict[str, Any], np.ndarray]
"""Bytes of a clip member, its JSON record, and the indices of the frames wanted (int64, rising)."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Decoder(Protocol):
    """Turns requests into frames."""

    device: torch.device
    """Where the frames are."""

    def decode(self, requests: Sequence[Request]) -> list[Tensor | Exception]:
        """Frames, uint8 (F, H, W), per request, or what went wrong with it.

        One bad clip does not harm the others.
        """


def attempt(function: Callable[[Item], Result], item: Item) -> Result | Exception:
    """The result of `function`, or what it raises.

    Damaged bytes make codecs raise almost anything, and one clip's failure must not be its
    neighbours'. Running out of memory, storage that fails and a failed assertion are no clip's
    fault and are raised.
    """
    try:
        return function(item)
    except (MemoryError, WorkFailed, AssertionError):
        raise
    except Exception as error:
        return error
