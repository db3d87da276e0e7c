"""`bsou train` as real processes, started by hand, to be stopped, killed or frozen by a test."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path
from types import TracebackType

from starter import STARTER

TIMEOUT_S = 600  # only ever waited for where something is broken


def _rank(arguments: list[str], environment: dict[str, str], log: Path) -> None:
    os.environ.update(environment)
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    from bsou_dist.cli import main

    sys.exit(main(["train", *arguments]))


class Job:
    """`world` processes of one run; what is left of them is killed at the end of the block.

    `of_rank` has overrides that one rank alone is given, by its number.
    """

    def __init__(
        self,
        config: Path,
        *overrides: str,
        world: int = 1,
        of_rank: dict[int, str] | None = None,
    ) -> None:
        with socket.socket() as free:
            free.bind(("", 0))
            port = free.getsockname()[1]
        self._logs = config.parent / f"job-{time.monotonic_ns()}"
        self._logs.mkdir()
        self.ranks = []
        for rank in range(world):
            environment = {
                "RANK": str(rank),
                "WORLD_SIZE": str(world),
                "LOCAL_RANK": str(rank),
                "OMP_NUM_THREADS": "1",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            }
            arguments = [str(config), *overrides]
            if of_rank and rank in of_rank:
                arguments.append(of_rank[rank])
            process = STARTER.Process(target=_rank, args=(arguments, environment, self._log(rank)))
            process.start()
            self.ranks.append(process)

    def __enter__(self) -> Job:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self.ranks:
            process.kill()
            process.join()

    def send(self, number: signal.Signals, *ranks: int) -> None:
        """A signal to some ranks; to all if none is named."""
        for rank in ranks or range(len(self.ranks)):
            os.kill(self.ranks[rank].pid, number)

    def wait_for(self, path: Path) -> None:
        """Until a file is there."""
        deadline = time.monotonic() + TIMEOUT_S
        while not path.exists():
            assert time.monotonic() < deadline, (
                f"no {path.name} after {TIMEOUT_S} s:\n{self.said()}"
            )
            assert any(process.is_alive() for process in self.ranks), (
                f"ended without {path.name}:\n{self.said()}"
            )
            time.sleep(0.005)

    def codes(self, *ranks: int) -> list[int | None]:
        """Exit codes of some ranks, or all, once they have ended; None for one that has not."""
        for rank in ranks or range(len(self.ranks)):
            self.ranks[rank].join(TIMEOUT_S)
        return [self.ranks[rank].exitcode for rank in ranks or range(len(self.ranks))]

    def said(self, rank: int | None = None) -> str:
        """What a rank, or all, have printed."""
        chosen = range(len(self.ranks)) if rank is None else [rank]
        return "\n".join(
            self._log(one).read_text(errors="replace") for one in chosen if self._log(one).exists()
        )

    def _log(self, rank: int) -> Path:
        return self._logs / str(rank)
