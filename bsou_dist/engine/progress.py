"""What a waiting person asks: loss, speed, waiting for data, time left, memory.

On a terminal a bar says so, elsewhere a line from time to time.
"""

from __future__ import annotations

import math
import resource
import sys
import time
from datetime import timedelta
from types import TracebackType

import torch
from tqdm import tqdm

QUIET_S = 5.0
"""Least time between two lines about epochs."""

SMOOTHING = 0.1
"""Weight of the newest step in the running means."""


class StepBar:
    """A bar that counts the optimizer steps of a stage, and a line for every epoch.

    `shown` is True on one process only. Where output is no terminal, there are only the lines, and
    one about the steps every `line_every_s` seconds.
    """

    def __init__(
        self,
        name: str,
        *,
        unit: str,
        total: int,
        done: int,
        shown: bool,
        line_every_s: float,
        device: str,
    ) -> None:
        self.name = name
        self.unit = unit
        self.shown = shown
        self._total = total
        self._done = done
        self._line_every_s = line_every_s
        self._device = device
        self._bar = tqdm(
            total=total,
            initial=done,
            desc=name,
            unit="step",
            disable=None if shown else True,  # None: tqdm hides it where there is no terminal
            dynamic_ncols=True,
            smoothing=SMOOTHING,
        )
        now = time.perf_counter()
        self._step_began = now
        self._last_line = now
        self._mean: dict[str, float] = {}

    def __enter__(self) -> StepBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    def step(self, loss: float | None, items: int, data_wait_s: float) -> None:
        """Count an optimizer step on `items` clips or exams of all ranks.

        `loss` is None where the step was passed over; `data_wait_s` is how long this process waited
        for the items.
        """
        now = time.perf_counter()
        duration_s = now - self._step_began
        self._step_began = now
        newest = {"items": items, "s": duration_s, "wait": data_wait_s}
        if loss is not None:
            newest["loss"] = loss
        for key, value in newest.items():
            mean = self._mean.get(key, value)
            self._mean[key] = (1 - SMOOTHING) * mean + SMOOTHING * value
        said = f"loss {self._mean.get('loss', math.nan):.4f}, {self._speed()}"
        self._bar.set_postfix_str(said, refresh=False)
        self._bar.update()
        self._done += 1
        no_terminal = self.shown and self._bar.disable
        if no_terminal and now - self._last_line >= self._line_every_s:
            self._last_line = now
            left = timedelta(seconds=round((self._total - self._done) * self._mean["s"]))
            memory = f"memory {peak_memory_gb(self._device):.1f} GB"
            steps = f"step {self._done} of {self._total}"
            print(f"{self.name}: {steps}, {said}, {left} left, {memory}", file=sys.stderr)

    def epoch(self, number: int, train_loss: float, valid_loss: float, last: bool) -> None:
        """Write a line about an epoch that is done and validated; not about every quick epoch."""
        now = time.perf_counter()
        self._step_began = now  # validation is not part of the next step
        if self.shown and (last or now - self._last_line > QUIET_S):
            self._last_line = now
            line = (
                f"{self.name}: epoch {number}, train loss {train_loss:.4f}, "
                f"validation loss {valid_loss:.4f}, {self._speed()}"
            )
            tqdm.write(line, file=sys.stderr)

    def _speed(self) -> str:
        mean = self._mean
        items_per_s = mean["items"] / mean["s"]
        wait_percent = 100 * mean["wait"] / mean["s"]
        return f"{items_per_s:.1f} {self.unit}s/s, data wait {wait_percent:.1f} %"


def peak_memory_gb(device: str) -> float:
    """The most memory that this process has held: of its GPU, or without one its own; in GB."""
    if device == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return torch.cuda.max_memory_reserved(device) / 1e9
