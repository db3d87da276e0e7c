"""How far packing has come: a bar in a terminal, elsewhere a line now and then."""

from __future__ import annotations

import sys
import time
from collections import Counter
from types import TracebackType

from tqdm import tqdm

QUIET_S = 60.0  # at least, between two lines


class PackProgress:
    """Clips done, their rate, the time left, and rejects by reason. Nothing is said unless
    `shown`.
    """

    def __init__(self, *, total: int, done: int, shown: bool) -> None:
        self._bar = tqdm(
            total=total,
            initial=done,
            desc="pack",
            unit="clip",
            dynamic_ncols=True,
            disable=None if shown else True,
        )
        self._lines = shown and self._bar.disable
        self._total, self._first, self._done = total, done, done
        self._began = self._said = time.perf_counter()
        self._rejects: Counter[str] = Counter()

    def __enter__(self) -> PackProgress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._lines and self._done > self._first:
            self._say()
        self._bar.close()

    def update(self, rejects: Counter[str]) -> None:
        """One more clip is done; `rejects` counts those of this run so far."""
        self._done += 1
        self._rejects = rejects
        self._bar.set_postfix_str(_described(rejects), refresh=False)
        self._bar.update()
        if self._lines and time.perf_counter() - self._said >= QUIET_S:
            self._say()

    def _say(self) -> None:
        self._said = time.perf_counter()
        rate = (self._done - self._first) / (self._said - self._began)
        left = tqdm.format_interval((self._total - self._done) / rate)
        print(
            f"pack: {self._done} of {self._total} clips, {rate:.1f} clips/s, {left} left, "
            f"{_described(self._rejects)}",
            file=sys.stderr,
            flush=True,
        )


def _described(rejects: Counter[str]) -> str:
    reasons = ", ".join(f"{count} {reason}" for reason, count in rejects.most_common())
    return f"{rejects.total()} rejected in this run" + (f": {reasons}" if reasons else "")
