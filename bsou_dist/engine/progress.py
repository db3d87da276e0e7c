"""A progress bar that says what a waiting person asks: loss, speed, waiting for data, time left."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from tqdm import tqdm

QUIET_S = 5.0  # at least, between two lines
SMOOTHING = 0.1  # weight of the newest step in the running means


class StepBar:
    """Counts optimizer steps of a stage; `shown` only on one process. Where output is no terminal,
    a line an epoch.
    """

    def __init__(self, name: str, *, unit: str, total: int, done: int, shown: bool) -> None:
        self.name = name
        self.unit = unit
        self.shown = shown
        self._bar = tqdm(
            total=total,
            initial=done,
            desc=name,
            unit="step",
            disable=None if shown else True,
            dynamic_ncols=True,
            smoothing=SMOOTHING,
        )
        self._began = self._said = time.perf_counter()
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

    def step(self, loss: float, items: int, data_wait_s: float) -> None:
        """One optimizer step is done, on `items` clips or exams of all ranks, after waiting for
        them.
        """
        now = time.perf_counter()
        duration, self._began = now - self._began, now
        for key, value in (
            ("loss", loss),
            ("items", items),
            ("s", duration),
            ("wait", data_wait_s),
        ):
            self._mean[key] = (1 - SMOOTHING) * self._mean.get(key, value) + SMOOTHING * value
        self._bar.set_postfix_str(f"loss {self._mean['loss']:.4f}, {self._speed()}", refresh=False)
        self._bar.update()

    def epoch(self, number: int, train_loss: float, valid_loss: float, last: bool) -> None:
        """An epoch is done and validated; said in a line, but of quick epochs not each."""
        self._began = time.perf_counter()  # validation is not part of the next step
        if self.shown and (last or self._began - self._said > QUIET_S):
            self._said = self._began
            tqdm.write(
                f"{self.name}: epoch {number}, train loss {train_loss:.4f}, validation loss "
                f"{valid_loss:.4f}, "
                f"{self._speed()}",
                file=sys.stderr,
            )

    def _speed(self) -> str:
        mean = self._mean
        return (
            f"{mean['items'] / mean['s']:.1f} {self.unit}s/s, data wait "
            f"{100 * mean['wait'] / mean['s']:.1f} %"
        )
