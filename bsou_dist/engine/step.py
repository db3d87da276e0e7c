"""One training step and one validation pass."""

from __future__ import annotations

import hashlib

import torch
import torch.distributed as dist

from bsou_dist.engine.processes import Processes
from bsou_dist.engine.protocol import Engine
from bsou_dist.feed.batch import Batch
from bsou_dist.feed.protocol import Feed
from bsou_dist.objective.on_batches import Objective


class NonFiniteLoss(RuntimeError):
    """The loss is NaN or infinite; raised on every rank, since all hold the same global loss."""


def forward(engine: Engine, batch: Batch, precision: str) -> object:
    """Outputs of the network for this rank's rows."""
    inputs = (batch.clips,) if batch.slots.shape[1] == 1 else (batch.clips, batch.slots)
    with torch.autocast(batch.clips.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        return engine(*inputs)


def train_step(engine: Engine, batch: Batch, objective: Objective, *, seed: int, rank: int, precision: str) -> float:
    """Forward, global loss, backward, update. Dropout is a function of (seed, epoch, step, rank).

    Returns the global loss.

    Raises:
        NonFiniteLoss: before the optimizer steps; the weights are still those of the step before.
    """
    engine.network.train()
    torch.manual_seed(_dropout_seed(seed, batch.epoch, batch.step, rank))
    loss = objective(forward(engine, batch, precision), batch)
    value = loss.item()
    if not torch.isfinite(loss):
        raise NonFiniteLoss(f"the loss is {value} at epoch {batch.epoch}, step {batch.step}; the weights were not "
                            f"changed. Clips of rank {rank}: {', '.join(batch.key)}")
    engine.update(loss)
    return value


@torch.no_grad()
def validate(engine: Engine, feed: Feed, objective: Objective, *, precision: str, processes: Processes) -> float:
    """Mean validation loss over the fixed batches of `feed`, each weighted by its valid rows. Collective."""
    engine.network.eval()
    total, count = 0.0, 0.0
    for batch in feed.epoch(0):
        rows = batch.valid.sum().to(torch.float64)
        dist.all_reduce(rows)
        total += objective(forward(engine, batch, precision), batch).item() * rows.item()
        count += rows.item()
    return total / max(count, 1.0)


def _dropout_seed(*parts: int) -> int:
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=7).digest(), "little")
