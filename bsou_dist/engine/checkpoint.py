"""Checkpoints: one format, whatever the engine and the number of ranks."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from bsou_dist.common.errors import InputError
from bsou_dist.common.files import whole_file
from bsou_dist.common.progress_mark import mark_progress
from bsou_dist.common.strict_config import StrictConfig
from bsou_dist.engine.broadcast_tensors import broadcast_tensors
from bsou_dist.engine.buffers import average_buffers
from bsou_dist.engine.not_finite import first_not_finite
from bsou_dist.engine.processes import Processes
from bsou_dist.engine.protocol import Engine

FORMAT = 5
"""Goes up with every change of what is in the file; files of another format are refused."""
BEST = "best.pt"
STEPS = "step-*.pt"


class CheckpointConfig(StrictConfig):
    """How often a run saves within an epoch, and how many checkpoints it keeps beside the best.

    At the end of an epoch it always saves. What was done since the last checkpoint is what a killed
    job loses.
    """

    every_minutes: float = Field(default=10.0, gt=0)
    every_steps: int | None = Field(default=None, ge=1)
    """Optimizer steps; a run saves when either number is reached."""
    keep: int = Field(default=2, ge=1)


class CheckpointFailed(RuntimeError):
    """A checkpoint could not be written, or is not finite. The older ones are whole."""


@dataclass
class Checkpoint:
    """All that a run needs to go on, on any number of ranks and with any engine.

    `epoch` and `step` are the next ones to run; where `step` equals the epoch's steps, only
    validation is left of it. Every random choice is a function of (seed, epoch, step), so that no
    generator's state needs keeping.
    """

    network: dict[str, Tensor]
    moments: dict[str, dict[str, Tensor]]
    schedule: dict[str, Any]
    epoch: int
    step: int
    losses: float
    """Sum of the training losses of the epoch so far."""
    best_loss: float
    """Lowest validation loss so far."""
    best: float
    """Lowest value so far by which weights are chosen."""
    since_best: int
    """Epochs since then."""
    averages: dict[str, Tensor] = field(default_factory=dict)
    """Moving averages of the weights, where a stage keeps them."""
    skipped: int = 0
    """Batches of the epoch so far that were passed over, since something was not finite."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """Plain values that say what was trained: the stage, its tasks, the encoder."""


class Checkpoints:
    """The checkpoints of one stage in its folder: the last few by number of steps, and the best.

    The best holds weights, the moving averages where there are such, but no optimizer moments.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self.keep = keep

    def save(self, checkpoint: Checkpoint, steps_done: int, *, best: bool = False) -> None:
        """Write a checkpoint whole or not at all, and remove old ones: for one process alone.

        Raises:
            CheckpointFailed: the message names the file and the reason, such as a full disk, or
                weights that are not finite.
        """
        path = self.folder / STEPS.replace("*", f"{steps_done:09d}")
        try:
            _require_finite(checkpoint)
            if best:
                _write(_best_of(checkpoint), self.folder / BEST)
            _write(checkpoint, path)
        except (OSError, RuntimeError, FloatingPointError) as error:
            raise CheckpointFailed(
                f"cannot write the checkpoint {path} ({_reason(error)}); those before it are whole"
            ) from error
        mark_progress()
        self._prune(path)

    def _prune(self, newest: Path) -> None:
        """Keep the last few up to the newest one.

        What lies beyond it was passed over as damaged when the run was resumed.
        """
        steps = self.steps()
        passed_over = [path for path in steps if path > newest]
        too_old = [path for path in steps if path <= newest][self.keep :]
        for path in passed_over + too_old:
            with suppress(OSError):  # the next save tries again
                path.unlink()

    def steps(self) -> list[Path]:
        """Checkpoints by number of steps, newest first."""
        return sorted(self.folder.glob(STEPS), reverse=True)

    def latest(self, processes: Processes) -> Checkpoint | None:
        """The newest whole checkpoint; None where there is none at all.

        One that is damaged is named on stderr. Collective: the first process reads for all, which
        spares the file system and the others, whose view of it may be older.

        Raises:
            InputError: on every process: all are damaged, or the file system fails.
        """
        chosen: Checkpoint | None = None
        fault = ""
        if processes.first:
            for unfinished in self.folder.glob("*.tmp"):  # a process was killed while it saved
                unfinished.unlink(missing_ok=True)
            try:
                chosen = self._newest_whole()
            except InputError as error:
                fault = str(error)
        return _shared(chosen, fault, processes)

    def _newest_whole(self) -> Checkpoint | None:
        """The newest whole checkpoint; None without any.

        Raises:
            InputError: there are some, and none is whole; or the file system fails.
        """
        faults: list[str] = []
        for path in self.steps():
            try:
                found = load_checkpoint(path)
            except InputError as error:
                faults.append(str(error))
                continue
            except OSError as error:
                # Going on from an older checkpoint would throw away work that may well be whole.
                raise InputError(
                    f"{path} cannot be read ({error.strerror}); mend that, and start again"
                ) from None
            for fault in faults:
                note = f"note: {fault}; going on from {path.name}, the one before it"
                print(note, file=sys.stderr)
            return found
        if faults:
            raise InputError(
                f"no whole checkpoint in {self.folder}: {'; '.join(faults)}. Delete that folder "
                "to train this stage anew"
            )
        return None


def take_checkpoint(
    engine: Engine,
    schedule: dict[str, Any],
    averages: dict[str, Tensor],
    *,
    epoch: int,
    step: int,
    losses: float,
    best_loss: float,
    best: float,
    since_best: int,
    skipped: int,
    metadata: dict[str, Any],
    keep: bool,
) -> Checkpoint:
    """Collect a checkpoint; batch-norm statistics become their mean over ranks. Collective.

    With `keep` its tensors are copies, which training leaves alone; without, there are none: what
    will not be written need not be copied.
    """
    average_buffers(engine.network)
    return Checkpoint(
        network=engine.weights(keep=keep),
        moments=engine.moments(keep=keep),
        schedule=schedule,
        epoch=epoch,
        step=step,
        losses=losses,
        best_loss=best_loss,
        best=best,
        since_best=since_best,
        averages=averages,
        skipped=skipped,
        metadata=metadata,
    )


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; tensors on the CPU, nothing unpickled but tensors and plain values.

    Raises:
        InputError: no such file, not a checkpoint, of another format, not as it was written, or
            with weights that are not finite.
    """
    if not path.is_file():
        raise InputError(
            f"no checkpoint at {path}; give the folder of a run that has one, or train it first"
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        version = content.pop("format")
        digest = content.pop("digest", None)
    except (OSError, MemoryError):
        raise  # these say nothing about the file
    except Exception as error:
        raise InputError(
            f"{path} is not a checkpoint of bsou-dist ({type(error).__name__})"
        ) from None
    if version != FORMAT:
        raise InputError(f"{path} has checkpoint format {version}; this version reads {FORMAT}")
    if digest != _digest(content):
        raise InputError(f"{path} is damaged: its content is not what was written")
    checkpoint = Checkpoint(**content)
    try:
        _require_finite(checkpoint)
    except FloatingPointError as error:
        raise InputError(f"{path} is of no use: {error}") from None
    return checkpoint


def read_for_all(path: Path, processes: Processes) -> Checkpoint:
    """Read a checkpoint on the first process, for all of them. Collective.

    Raises:
        InputError: on every process, as `load_checkpoint`.
    """
    found: Checkpoint | None = None
    fault = ""
    if processes.first:
        try:
            found = load_checkpoint(path)
        except InputError as error:
            fault = str(error)
    found = _shared(found, fault, processes)
    assert found is not None
    return found


def _shared(found: Checkpoint | None, fault: str, processes: Processes) -> Checkpoint | None:
    """What the first process has found, on every process. Collective.

    Raises:
        InputError: with the first process's `fault`, where it has one.
    """
    fault, is_found = processes.broadcast((fault, found is not None))
    if fault:
        raise InputError(fault)
    if not is_found:
        return None
    return Checkpoint(**broadcast_tensors(vars(found) if found else None, processes))


def _reason(error: Exception) -> str:
    """What to say of a failed write; torch's writer wraps an OSError in a RuntimeError."""
    if isinstance(error, OSError):
        return str(error.strerror)
    return str(error).splitlines()[0]


def _best_of(checkpoint: Checkpoint) -> Checkpoint:
    """What the best one holds: weights that were validated, and nothing to train on with."""
    weights = {**checkpoint.network, **checkpoint.averages}
    return dataclasses.replace(checkpoint, network=weights, moments={}, averages={})


def _require_finite(checkpoint: Checkpoint) -> None:
    """Refuse what nothing could go on from.

    Raises:
        FloatingPointError: a weight or a moment is NaN or infinite.
    """
    name = first_not_finite(checkpoint.network) or first_not_finite(checkpoint.averages)
    if name:
        raise FloatingPointError(f"values of {name!r} are not finite")
    for parameter, moments in checkpoint.moments.items():
        name = first_not_finite(moments)
        if name:
            raise FloatingPointError(f"values of {name!r} of {parameter!r} are not finite")


def _write(checkpoint: Checkpoint, path: Path) -> None:
    content = vars(checkpoint)
    with whole_file(path) as temporary, temporary.open("wb") as file:
        torch.save({"format": FORMAT, "digest": _digest(content), **content}, file)


def _digest(content: dict[str, Any]) -> str:
    """Checksum of all tensors and plain values.

    Needed since torch's reader does not compare the checksums of its archive.
    """
    digest = hashlib.blake2b(digest_size=16)

    def add(value: Any) -> None:
        if isinstance(value, dict):
            for key in sorted(value, key=repr):
                digest.update(repr(key).encode())
                add(value[key])
        elif isinstance(value, Tensor):
            digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
            content_bytes = value.contiguous().flatten().view(torch.uint8)
            digest.update(content_bytes.numpy().data)
        else:
            digest.update(repr(value).encode())

    add(content)
    return digest.hexdigest()
