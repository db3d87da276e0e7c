"""A vote of all processes that none of them waits for."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from bsou_dist.engine.processes import Processes


class LateVote:
    """The largest of all processes' wishes, asked for after one step and read after the next.

    Wishes travel between CPUs while the next step is under way, so that neither a processor nor a
    GPU waits for them. All processes read the same outcome at the same step. Collective.
    """

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._wish: Tensor | None = None
        self._work: dist.Work | None = None

    def cast(self, wish: int) -> None:
        """Begin a vote, once the one before was read; 0 is to wish nothing."""
        assert self._work is None, "read the outcome of the last vote first"
        self._wish = torch.tensor([wish])
        self._work = dist.all_reduce(
            self._wish, dist.ReduceOp.MAX, group=self._processes.control, async_op=True
        )

    def outcome(self) -> int:
        """The largest wish of the vote that was begun last; 0 where none was since."""
        if self._work is None or self._wish is None:
            return 0
        self._work.wait()
        self._work = None
        return int(self._wish.item())
