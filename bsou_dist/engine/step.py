"""One training step and one validation pass."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.distributed as dist

from bsou_dist.engine.caching import CachedStep
from bsou_dist.engine.dropout import dropout_seed, seed_dropout
from bsou_dist.engine.processes import Processes
from bsou_dist.engine.protocol import Engine
from bsou_dist.feed.batch import Batch
from bsou_dist.feed.protocol import Feed
from bsou_dist.objective.batch_objectives import Objective


class NonFiniteLoss(RuntimeError):
    """The loss is NaN or infinite; raised on every rank, since all hold the same global loss."""


def train_step(
    engine: Engine,
    batch: Batch,
    objective: Objective,
    *,
    seed: int,
    rank: int,
    cached: CachedStep | None = None,
) -> float:
    """Forward, global loss, backward, update. Collective.

    Dropout is a function of (seed, epoch, step, rank). `cached` does the step in chunks. Returns
    the global loss.

    Raises:
        NonFiniteLoss: before the optimizer steps; the weights are still those of the step before.
    """
    engine.network.train()
    chunks = cached.chunks if cached else 1
    seeds = [dropout_seed(seed, batch.epoch, batch.step, rank, chunk) for chunk in range(chunks)]
    # A loss that is not finite must stop the run before the update. The two halves of a cached step
    # stand around that check.
    if cached:
        loss, gradients = cached.loss(engine, batch, objective, seeds)
    else:
        seed_dropout(seeds[0])
        loss = objective(_forward(engine, batch), batch)
    value = loss.item()
    if not math.isfinite(value):
        raise NonFiniteLoss(
            f"the loss is {value} at epoch {batch.epoch}, step {batch.step}; the weights were not "
            f"changed. Clips of rank {rank}: {', '.join(batch.key)}"
        )
    if cached:
        cached.update(engine, batch, gradients, seeds)
    else:
        engine.update(loss)
    return value


@torch.no_grad()
def validate(
    engine: Engine, feed: Feed, objective: Objective, processes: Processes, name: str
) -> float:
    """Mean validation loss over the fixed batches of `feed`. Collective.

    A batch weighs what it adds to the denominator of the loss. The result is the same on every rank
    to the last bit, since schedules are steered by it. `name` is the stage's, for the watchdog.

    Raises:
        NonFiniteLoss: on every rank.
        Stopped: on every rank, by a signal.
    """
    engine.network.eval()
    total = 0.0
    count = 0.0
    for batch in feed.epoch(0):
        processes.at(f"{name}: validation, batch {batch.step + 1}")
        processes.check_stop()
        weight = objective.weight(batch).to(torch.float32)
        dist.all_reduce(weight)
        loss = objective(_forward(engine, batch), batch)
        dist.broadcast(loss, src=0)  # the ranks' own sums may round differently
        total += loss.item() * weight.item()
        count += weight.item()
    mean = total / max(count, 1e-12)  # 0 where nothing is labelled
    if not math.isfinite(mean):
        raise NonFiniteLoss(
            f"the validation loss is {mean}: training has diverged; lower the learning rate"
        )
    return mean


def _forward(engine: Engine, batch: Batch) -> Any:
    """Outputs of the network for this rank's rows."""
    return engine(batch.clips, batch.slots)
