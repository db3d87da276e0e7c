"""Training by processes of their own, one per GPU, for gpu_check.py."""

from __future__ import annotations

import math
import os
import socket
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as mp

TASKS, CLASSES, TEMPERATURE = 4, 4, 0.1


@dataclass(frozen=True)
class Job:
    """What is trained, and how."""

    encoder: str
    clips: int
    frames: int
    size_px: int
    steps: int = 5
    engine: dict[str, Any] = field(default_factory=lambda: {"name": "ddp"})
    optim: dict[str, Any] = field(
        default_factory=lambda: {"name": "adamw", "learning_rate": 1e-4, "weight_decay": 0.0}
    )
    encoder_settings: dict[str, Any] = field(default_factory=dict)
    chunks: int = 1
    """More than one: gradient caching in so many."""


@dataclass(frozen=True)
class Trained:
    """What came of a job on one rank."""

    losses: list[float]
    norms: list[float]
    """Of the gradient, at each step."""
    weights: dict[str, torch.Tensor]
    step_s: float
    """Median of all steps but the first two."""
    peak_mb: float | None


def on_ranks(world: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Results of `function(processes, *arguments)` from `world` processes, in rank order.

    They meet as `bsou train` has its own meet, by NCCL where there are GPUs.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_rank, (world, port, folder, function, arguments), nprocs=world)
        found = [Path(folder) / f"{rank}.pt" for rank in range(world)]
        return [torch.load(path, weights_only=False) for path in found]


def _rank(
    rank: int,
    world: int,
    port: int,
    folder: str,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    from bsou_dist.engine.processes import start_processes

    os.environ.update(
        RANK=str(rank),
        WORLD_SIZE=str(world),
        LOCAL_RANK=str(rank),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )
    with start_processes() as processes:
        torch.save(function(processes, *arguments), Path(folder) / f"{rank}.pt")


def train(processes: Any, job: Job) -> Trained:
    """Take a few steps of MTSCon on clips of noise, the same ones whatever the ranks."""
    from bsou_dist.engine.caching import CachedStep
    from bsou_dist.engine.step import train_step

    engine, batch, objective = prepared(processes, job)
    on_gpu = processes.device != "cpu"
    rows = math.ceil(math.ceil(job.clips / processes.world) / job.chunks)
    cached = CachedStep(rows, job.chunks) if job.chunks > 1 else None
    losses, norms, taken = [], [], []
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    for _ in range(job.steps):
        began = time.perf_counter()
        outcome = train_step(engine, batch, objective, seed=0, rank=processes.rank, cached=cached)
        if on_gpu:
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - began)
        losses.append(float(outcome.loss))
        norms.append(float(outcome.gradient_norm))
    peak_mb = torch.cuda.max_memory_allocated() / 1e6 if on_gpu else None
    network = engine.network
    engine.close()  # leaves the network whole
    weights = {name: value.detach().cpu() for name, value in network.state_dict().items()}
    steady = sorted(taken[2:])
    return Trained(losses, norms, weights, steady[len(steady) // 2], peak_mb)


def gradient(processes: Any, job: Job, on_cpu: bool = False) -> tuple[float, dict[str, Any]]:
    """Loss of the first batch and its gradient, averaged over ranks, by parameter name.

    `on_cpu` computes it there, without any engine.
    """
    if on_cpu:
        network, batch, objective = network_and_batch(job, "cpu", rank=0, world=1)
        loss = objective(network(batch.clips, batch.slots), batch)
        loss.backward()
    else:
        engine, batch, objective = prepared(processes, job)
        network = engine.network
        loss = objective(engine(batch.clips, batch.slots), batch)
        engine.backward(loss)
    gradients = {name: one.grad.cpu() for name, one in network.named_parameters()}
    return float(loss.detach()), gradients


def prepared(processes: Any, job: Job) -> tuple[Any, Any, Any]:
    """Engine, this rank's rows of a batch, and the loss."""
    from bsou_dist.engine.make import EngineConfig, make_engine
    from bsou_dist.engine.optim.config import OptimConfig

    network, batch, objective = network_and_batch(
        job, processes.device, processes.rank, processes.world
    )
    config = EngineConfig.model_validate(job.engine)
    optim = OptimConfig.model_validate(job.optim)
    return make_engine(network, config, optim, processes), batch, objective


def network_and_batch(job: Job, device: str, rank: int, world: int) -> tuple[Any, Any, Any]:
    """A fresh network, this rank's rows of a batch, and the loss; the same on every device."""
    from bsou_dist.feed.batch import Batch
    from bsou_dist.feed.order.protocol import rank_slice
    from bsou_dist.model.encoder import EncoderConfig, build_encoder
    from bsou_dist.model.network import PretrainNetwork, projection_heads
    from bsou_dist.objective.batch_objectives import MultitaskContrastive

    torch.manual_seed(0)
    # Group norm, so that no row depends on another and any number of ranks takes the same step.
    config = EncoderConfig.model_validate(
        {"name": job.encoder, "weights": "none", "norm": "group"} | job.encoder_settings
    )
    encoder = build_encoder(config, frames=job.frames, size_px=job.size_px)
    tasks = [f"task{number}" for number in range(TASKS)]
    network = PretrainNetwork(encoder, projection_heads(tasks, encoder.dim)).to(device)
    generator = torch.Generator().manual_seed(0)
    shape = (job.clips, 1, job.frames, job.size_px, job.size_px)
    rows = rank_slice(job.clips, rank, world)
    clips = torch.randn(shape, generator=generator)[rows].to(device)
    index = torch.arange(job.clips)[rows].to(device)
    there = torch.ones(len(index), dtype=torch.bool, device=device)
    batch = Batch(
        clips=clips,
        slots=there[:, None],
        valid=there,
        labels={task: (index + number) % CLASSES for number, task in enumerate(tasks)},
        key=[str(place) for place in index.tolist()],
        study=index,
        exam=index,
        subject=index,
        sweep=index,
        index=index,
        views=1,
        epoch=0,
        step=0,
    )
    objective = MultitaskContrastive(tasks, temperature=TEMPERATURE)
    return network, batch, objective


def difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """Norm of the difference of two sets of tensors, over the norm of the other."""
    apart = sum(float((one[name].double() - other[name].double()).norm() ** 2) for name in other)
    whole = sum(float(tensor.double().norm() ** 2) for tensor in other.values())
    return (apart / whole) ** 0.5
