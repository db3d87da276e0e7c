"""Checkpoints written behind training, by a thread of the first process, one at a time."""

from __future__ import annotations

import sys
import threading
from types import TracebackType

from bsou_dist.engine.checkpoint import Checkpoint, CheckpointFailed, Checkpoints
from bsou_dist.engine.processes import Processes


class Saver:
    """Writes the checkpoints of one stage while training goes on; as a context it ends with that.

    Only the first process writes. Its other methods may be called by all and do nothing there, but
    for `finish`, which is collective.
    """

    def __init__(self, checkpoints: Checkpoints, processes: Processes) -> None:
        self._checkpoints = checkpoints
        self._processes = processes
        self._thread: threading.Thread | None = None
        self._fault: str | None = None
        """What went wrong with a checkpoint that had to be written."""

    def __enter__(self) -> Saver:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.wait()

    @property
    def failed(self) -> bool:
        """Whether a checkpoint that had to be written could not be, as far as this process knows.

        `finish` says so on all of them.
        """
        return self._fault is not None

    def begin(
        self, checkpoint: Checkpoint, steps_done: int, *, best: bool = False, must: bool = True
    ) -> None:
        """Begin to write a checkpoint, once the one before it is written.

        Its tensors may not change any more (`take_checkpoint` copies them). Where it cannot be
        written and need not be, that is only said: a full disk may have room next time. Once one
        that had to be written could not be, the run is about to end, and no other is begun.
        """
        if not self._processes.first:
            return
        self.wait()
        if self.failed:
            return
        self._thread = threading.Thread(
            target=self._write, args=(checkpoint, steps_done, best, must), name="saving"
        )
        self._thread.start()

    def wait(self) -> None:
        """Wait until nothing is being written."""
        if self._thread:
            self._thread.join()
            self._thread = None

    def finish(self) -> None:
        """Wait until nothing is being written. Collective.

        Raises:
            CheckpointFailed: on every process, if one that had to be written could not be.
        """
        self.wait()
        fault = self._processes.broadcast(self._fault)
        if fault:
            raise CheckpointFailed(fault)

    def _write(self, checkpoint: Checkpoint, steps_done: int, best: bool, must: bool) -> None:
        try:
            self._checkpoints.save(checkpoint, steps_done, best=best)
        except CheckpointFailed as error:
            if must:
                self._fault = str(error)
            else:
                print(f"note: {error}; training goes on", file=sys.stderr)
        except Exception as error:  # a fault of the program, which nobody sees in a thread
            self._fault = f"saving after step {steps_done} ended in {type(error).__name__}: {error}"
