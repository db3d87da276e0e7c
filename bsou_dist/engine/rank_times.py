"""How long each rank works before it has to wait for the others.

All ranks end a step together, so that a step's length says nothing of who holds it up. What a rank
does alone is to wait for its data and to pass its rows through the network; everything behind that
waits for all. A rank whose own part takes longest is the one that the others wait for.
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from types import TracebackType
from typing import Any, NamedTuple

import torch
from torch import nn


class EpochTimes(NamedTuple):
    """How long an epoch took, or what a continued run did of it."""

    steps: int
    trained_s: float
    waited_s: list[float]
    """How long each rank waited for data."""
    forward_s: list[float]
    """How long each rank's rows took through the network."""

    def values(self, items: int, unit: str) -> dict[str, float]:
        """What is reported, where `items` of a `unit` (clip, exam) make a global batch."""
        own_s = list(map(sum, zip(self.waited_s, self.forward_s, strict=True)))
        steps = max(self.steps, 1)
        return {
            "epoch_s": self.trained_s,
            # The rank that waited longest: the others wait for it.
            "train/data_wait_share": max(self.waited_s) / self.trained_s,
            f"train/{unit}s_per_s": self.steps * items / self.trained_s,
            "ranks/slowest": own_s.index(max(own_s)),
            "ranks/slowest_step_s": max(own_s) / steps,
            "ranks/median_step_s": statistics.median(own_s) / steps,
        }


class OwnTime:
    """A stopwatch of this process's forward passes in training; as a context it watches.

    On a GPU it asks events that have passed, and waits for nothing.
    """

    def __init__(self, network: nn.Module, device: str) -> None:
        self._network = network
        self._on_gpu = device != "cpu"
        self._began: Any = None
        self._under_way: deque[tuple[torch.cuda.Event, torch.cuda.Event]] = deque()
        self._forward_s = 0.0

    def __enter__(self) -> OwnTime:
        self._hooks = [
            self._network.register_forward_pre_hook(lambda *_: self._begin()),
            self._network.register_forward_hook(lambda *_: self._end()),
        ]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for hook in self._hooks:
            hook.remove()

    def take_s(self) -> float:
        """Seconds of forward passes since the last call, as far as they are known to be done."""
        self._collect()
        taken, self._forward_s = self._forward_s, 0.0
        return taken

    def _begin(self) -> None:
        self._began = self._mark() if self._network.training else None

    def _end(self) -> None:
        if self._began is None:
            return
        ended = self._mark()
        if self._on_gpu:
            self._under_way.append((self._began, ended))
            self._collect()
        else:
            self._forward_s += ended - self._began

    def _mark(self) -> Any:
        """This moment: of the GPU's stream, or of the clock, in seconds."""
        if not self._on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _collect(self) -> None:
        """Add up what the GPU has done."""
        while self._under_way and self._under_way[0][1].query():
            began, ended = self._under_way.popleft()
            self._forward_s += began.elapsed_time(ended) / 1000
