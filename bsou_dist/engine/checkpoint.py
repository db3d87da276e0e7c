"""Checkpoints in one format that no engine and no number of ranks enters."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bsou_dist.engine.buffers import average_buffers
from bsou_dist.engine.processes import Processes
from bsou_dist.engine.protocol import Engine, EngineConfig, make_engine
from bsou_dist.errors import InputError
from bsou_dist.files import whole_file

FORMAT = 1
LAST, BEST = "last.pt", "best.pt"


@dataclass
class Checkpoint:
    """All that a run needs to go on, on any number of ranks and with any engine.

    `epoch` is the next one to run. Every random choice is a function of (seed, epoch, step), so that no generator's
    state needs keeping.
    """

    network: dict[str, Tensor]
    moments: dict[str, dict[str, Tensor]]
    schedule: dict[str, Any]
    epoch: int
    best_loss: float
    facts: dict[str, Any] = field(default_factory=dict)
    """Plain values that say what was trained: the stage, its tasks, the encoder."""


def resume_engine(network: nn.Module, config: EngineConfig, *, learning_rate: float, folder: Path,
                  processes: Processes) -> tuple[Engine, Checkpoint | None]:
    """An engine that goes on from the last checkpoint in `folder`, and that checkpoint; a new one where there is none.

    Raises:
        InputError: as `load_checkpoint` and `make_engine`.
    """
    start = load_checkpoint(folder / LAST) if (folder / LAST).is_file() else None
    if start:
        network.load_state_dict(start.network)  # before the engine, which may keep a copy of its own
    engine = make_engine(network, config, learning_rate=learning_rate, processes=processes)
    if start:
        engine.load_moments(start.moments)
    return engine, start


def take_checkpoint(engine: Engine, schedule: dict[str, Any], *, epoch: int, best_loss: float,
                    facts: dict[str, Any]) -> Checkpoint:
    """Collect a checkpoint. Collective: all ranks call it.

    On CPU its weights are the network's own memory: save it before the next step.
    """
    average_buffers(engine.network)
    network = {name: value.detach().cpu() for name, value in engine.network.state_dict().items()}
    return Checkpoint(network, engine.moments(), schedule, epoch, best_loss, facts)


def save_checkpoint(checkpoint: Checkpoint, paths: list[Path], processes: Processes) -> None:
    """Write to each of `paths`, whole or not at all, on the first process only."""
    if not processes.first:
        return
    for path in paths:
        with whole_file(path) as temporary:
            torch.save({"format": FORMAT, **vars(checkpoint)}, temporary)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; tensors on the CPU, nothing unpickled but tensors and plain values.

    Raises:
        InputError: no such file, not a checkpoint, or of another format.
    """
    if not path.is_file():
        raise InputError(f"no checkpoint at {path}; give the folder of a run that has one, or train it first")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        version = content.pop("format")
    except Exception as error:
        raise InputError(f"{path} is not a checkpoint of bsou-dist ({type(error).__name__}); train again, or use "
                         f"{BEST if path.name == LAST else LAST} beside it") from None
    if version != FORMAT:
        raise InputError(f"{path} has checkpoint format {version}; this version reads {FORMAT}")
    return Checkpoint(**content)
