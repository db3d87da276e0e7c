"""Threads that read clips before decoders want them.

Network storage answers a read after milliseconds, but many at once: what one thread that reads and
decodes in turn waits for, these wait for side by side.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event, Lock
from types import TracebackType
from typing import Any

Read = Callable[[int, Event], Any]
"""Reads a clip. An event ends its waiting: nobody takes the result any more."""

Reads = list[Future[list[Any]]]
"""Clips being read, in parts."""

TOGETHER_S = 1e-3
MOST_TOGETHER = 8
"""Clips that are read in less time than this, and not more of them, are one thread's task: out of
the page cache a clip is read sooner than it is handed from thread to thread.
"""


class ReaderPool:
    """Reads clips in `threads` threads, and prefetches shards in one; they end with the context."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, "bsou-read")
        # Its own, for it reads in sequence and may have much to read: no clip waits behind it.
        self._prefetcher = ThreadPoolExecutor(1, "bsou-prefetch")
        self._stopped = Event()
        self._one_at_a_time = Lock()
        self._ready = 0
        self._typical_s = TOGETHER_S
        """Seconds for a clip, as of late."""

    @property
    def ready(self) -> int:
        """Clips that are read and that no decoder has taken yet."""
        return self._ready

    def begin(self, read: Read, clips: Sequence[int]) -> Reads:
        """Begin to read clips, in this order; `take` waits for the results."""
        together = max(1, min(MOST_TOGETHER, int(TOGETHER_S / self._typical_s)))
        parts = [clips[first : first + together] for first in range(0, len(clips), together)]
        return [self._threads.submit(self._read, read, part) for part in parts]

    def take(self, reads: Reads) -> list[Any]:
        """What was read, a result per clip, once it is there.

        Raises:
            CancelledError: the pool was stopped first.
            Exception: what a read raised.
        """
        results = [result for part in reads for result in part.result()]
        reads.clear()  # so that bytes are freed once they are decoded
        with self._one_at_a_time:
            self._ready -= len(results)
        return results

    def prefetch(self, prefetch_shard: Callable[[int, Event], None], shards: Sequence[int]) -> None:
        """Begin to prefetch shards, in this order."""
        for shard in shards:
            self._prefetcher.submit(prefetch_shard, shard, self._stopped)

    def stop(self) -> None:
        """Begin nothing more, and end the waiting of reads that are under way."""
        self._stopped.set()
        for threads in (self._threads, self._prefetcher):
            threads.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> ReaderPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        for threads in (self._threads, self._prefetcher):
            threads.shutdown()

    def _read(self, read: Read, clips: Sequence[int]) -> list[Any]:
        began = time.perf_counter()
        results = [read(clip, self._stopped) for clip in clips]
        took_s = (time.perf_counter() - began) / len(clips)
        with self._one_at_a_time:
            self._ready += len(results)
            self._typical_s += (took_s - self._typical_s) / 16
        return results
