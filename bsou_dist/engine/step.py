"""One training step and one validation pass."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.distributed as dist

from bsou_dist.engine.caching import CachedStep
from bsou_dist.engine.dropout import dropout_seed, seed_dropout
from bsou_dist.engine.not_finite import KeptBuffers, NotFinite, not_finite_step
from bsou_dist.engine.processes import Processes
from bsou_dist.engine.protocol import Engine
from bsou_dist.feed.batch import Batch
from bsou_dist.feed.protocol import Feed
from bsou_dist.objective.batch_objectives import Objective


class StepOutcome(NamedTuple):
    """A step that was taken, in numbers that are equal on every rank."""

    loss: float
    """The global loss."""
    gradient_norm: float
    """Norm of its gradient over all parameters, before it was clipped."""


def train_step(
    engine: Engine,
    batch: Batch,
    objective: Objective,
    *,
    seed: int,
    rank: int,
    cached: CachedStep | None = None,
    keep_buffers: bool = False,
) -> StepOutcome:
    """Forward, global loss, backward, update. Collective.

    Dropout is a function of (seed, epoch, step, rank). `cached` does the step in chunks.

    Raises:
        NotFinite: before the optimizer steps; the weights are still those of the step before. With
            `keep_buffers` the running statistics of batch norm are too, so that training may go on.
    """
    engine.network.train()
    before = KeptBuffers(engine.network) if keep_buffers else None
    chunks = cached.chunks if cached else 1
    seeds = [dropout_seed(seed, batch.epoch, batch.step, rank, chunk) for chunk in range(chunks)]
    if cached:
        loss, gradients = cached.loss(engine, batch, objective, seeds)
        norm = cached.backward(engine, batch, gradients, seeds)
    else:
        seed_dropout(seeds[0])
        loss = objective(_forward(engine, batch), batch)
        norm = engine.backward(loss)
    # The one time in a step that the device is waited for. Both numbers are equal on every rank, so
    # that all of them decide alike.
    outcome = StepOutcome(*torch.stack([loss.detach().double(), norm.double()]).tolist())
    if not all(map(math.isfinite, outcome)):
        engine.drop_gradient()
        if before:
            before.restore()
        raise not_finite_step(*outcome, epoch=batch.epoch, step=batch.step, keys=batch.key)
    engine.step()
    return outcome


@torch.no_grad()
def validate(
    engine: Engine, feed: Feed, objective: Objective, processes: Processes, name: str
) -> float:
    """Mean validation loss over the fixed batches of `feed`. Collective.

    A batch weighs what it adds to the denominator of the loss. The result is the same on every rank
    to the last bit, since schedules are steered by it. `name` is the stage's, for the watchdog.

    Raises:
        NotFinite: on every rank.
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
        raise NotFinite(
            f"the validation loss is {mean}: training has diverged; lower the learning rate"
        )
    return mean


def _forward(engine: Engine, batch: Batch) -> Any:
    """Outputs of the network for this rank's rows."""
    return engine(*batch.inputs())
