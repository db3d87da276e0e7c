"""How far packing has come: a bar in a terminal, elsewhere a line now and then."""

from __future__ import annotations

import sys
import time
from collections import Counter
from types import TracebackType

from tqdm import tqdm

QUIET_S = 60.0  # at least, between two lines


class PackProgress:
    """Clips done, their rate, the time left, and rejects by reason; nothing unless `shown`."""

    def __init__(self, *, total: int, done: int, shown: bool) -> None:
        self._bar = tqdm(
            total=total,
            initial=done,
            desc="pack",
            unit="clip",
            dynamic_ncols=True,
            disable=None if shown else True,  # None: only where there is no terminal
        )
        self._prints_lines = shown and self._bar.disable
        self._total = total
        self._done_before = done
        self._done = done
        self._began_s = time.perf_counter()
        self._last_line_s = self._began_s
        self._rejects: Counter[str] = Counter()

    def __enter__(self) -> PackProgress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._prints_lines and self._done > self._done_before:
            self._print_line()
        self._bar.close()

    def update(self, rejects: Counter[str]) -> None:
        """Count one more clip as done; `rejects` counts those of this run so far."""
        self._done += 1
        self._rejects = rejects
        self._bar.set_postfix_str(_described(rejects), refresh=False)
        self._bar.update()
        if self._prints_lines and time.perf_counter() - self._last_line_s >= QUIET_S:
            self._print_line()

    def _print_line(self) -> None:
        self._last_line_s = time.perf_counter()
        clips_per_s = (self._done - self._done_before) / (self._last_line_s - self._began_s)
        seconds_left = (self._total - self._done) / clips_per_s
        print(
            f"pack: {self._done} of {self._total} clips, {clips_per_s:.1f} clips/s, "
            f"{tqdm.format_interval(seconds_left)} left, {_described(self._rejects)}",
            file=sys.stderr,
            flush=True,
        )


def _described(rejects: Counter[str]) -> str:
    text = f"{rejects.total()} rejected in this run"
    if rejects:
        text += ": " + ", ".join(f"{count} {reason}" for reason, count in rejects.most_common())
    return text
