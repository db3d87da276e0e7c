"""Which slots of a batch hold a clip, known on the CPU, so that nobody waits for a device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bsou_dist.feed.side_stream import to_device


@dataclass(frozen=True, eq=False)
class FilledSlots:
    """`Batch.slots` on the CPU."""

    slots: np.ndarray
    """bool (R, slots)."""
    device: str
    """Of the batch."""

    @property
    def everywhere(self) -> bool:
        """Whether every slot holds a clip."""
        return bool(self.slots.all())

    def index(self) -> Tensor:
        """Positions of the slots that do, among all R x slots, int64 on the device."""
        return to_device(torch.from_numpy(np.flatnonzero(self.slots)), self.device)

    def rows(self, rows: slice) -> FilledSlots:
        """The same of some rows."""
        return FilledSlots(self.slots[rows], self.device)
