"""A CUDA stream beside the training step's, so that batches are copied and decoded meanwhile."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor


def to_device(values: np.ndarray | Tensor, device: str | torch.device) -> Tensor:
    """Values as a tensor on a device.

    A copy to a GPU goes on in the background, behind what is queued there already: to wait for it
    would be to wait for all of that.
    """
    tensor = torch.from_numpy(values) if isinstance(values, np.ndarray) else values
    if tensor.device.type == torch.device(device).type:
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)


class SideStream:
    """A stream beside the one that trains. For a CPU everything here does nothing."""

    def __init__(self, device: str) -> None:
        self._stream = torch.cuda.Stream(device) if torch.device(device).type == "cuda" else None

    def making(self) -> AbstractContextManager[object]:
        """A context in which GPU work is queued on the side stream, in whichever thread."""
        return torch.cuda.stream(self._stream) if self._stream else nullcontext()

    def mark(self) -> torch.cuda.Event | None:
        """A point behind all that has been queued so far."""
        return self._stream.record_event() if self._stream else None

    def hand_over(self, marks: list[torch.cuda.Event | None], tensors: list[Tensor]) -> None:
        """Let the current stream wait for marks, and keep tensors until it is done with them."""
        if self._stream is None:
            return
        current = torch.cuda.current_stream(self._stream.device)
        for mark in marks:
            if mark is not None:
                current.wait_event(mark)
        for tensor in tensors:
            tensor.record_stream(current)
