"""`bsou train` as real processes, started by hand, to be stopped, killed or frozen by a test."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

TIMEOUT_S = 120


class Job:
    """`world` processes of one run; what is left of them is killed at the end of the block."""

    def __init__(self, config: Path, *overrides: str, world: int = 1) -> None:
        with socket.socket() as free:
            free.bind(("", 0))
            port = free.getsockname()[1]
        self._logs = config.parent / f"job-{time.monotonic_ns()}"
        self._logs.mkdir()
        self.ranks = []
        for rank in range(world):
            environment = os.environ | {"RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_RANK": str(rank),
                                        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
            with (self._logs / str(rank)).open("wb") as log:
                self.ranks.append(subprocess.Popen(
                    [sys.executable, "-m", "bsou_dist.cli", "train", str(config), *overrides], env=environment,
                    stdout=log, stderr=subprocess.STDOUT))

    def __enter__(self) -> Job:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        for process in self.ranks:
            process.kill()
            process.wait()

    def send(self, number: signal.Signals, *ranks: int) -> None:
        """A signal to some ranks; to all if none is named."""
        for rank in ranks or range(len(self.ranks)):
            self.ranks[rank].send_signal(number)

    def wait_for(self, path: Path) -> None:
        """Until a file is there."""
        deadline = time.monotonic() + TIMEOUT_S
        while not path.exists():
            assert time.monotonic() < deadline, f"no {path.name} after {TIMEOUT_S} s:\n{self.said()}"
            assert any(process.poll() is None for process in self.ranks), f"ended without {path.name}:\n{self.said()}"
            time.sleep(0.005)

    def codes(self) -> list[int]:
        """Exit codes of all ranks, once all have ended."""
        return [process.wait(TIMEOUT_S) for process in self.ranks]

    def said(self, rank: int | None = None) -> str:
        """What a rank, or all, have printed."""
        chosen = range(len(self.ranks)) if rank is None else [rank]
        return "\n".join((self._logs / str(one)).read_text(errors="replace") for one in chosen)
