"""Agreement of ranks on the input of a contrastive loss, before anything large is exchanged.

Shapes: T tasks, N rows of this rank, R rows of all ranks, D dimensions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bsou_dist.feed.side_stream import to_device
from bsou_dist.objective.collective import Group, gather, gather_equal, world_of
from bsou_dist.tasks.labels import MISSING_CLASS


class _Claim(NamedTuple):
    """What a rank tells the others of its input."""

    is_bad: float
    tasks: float
    rows: float
    dimensions: float
    has_sweep: float
    has_subject: float
    temperature: float
    largest_square: float
    """Of the norms of the rows that are valid."""


class Agreed(NamedTuple):
    """What all ranks know of each other's input."""

    counts: list[int]
    """Rows of every rank."""
    temperature: float
    """This rank's own."""
    largest_square: float
    """Of the norms of all ranks' valid rows."""


class GatheredLabels(NamedTuple):
    """What belongs to the rows of all ranks."""

    labels: Tensor
    """(T, R) int64; rows that are not valid have none."""
    sweep: Tensor | None
    """(R,) int64."""
    subject: Tensor | None
    """(R,) int64."""
    valid: Tensor
    """(R,) int64, 0 or 1."""


def gather_labels(
    labels: Tensor,
    sweep: Tensor | None,
    subject: Tensor | None,
    valid: Tensor | None,
    counts: list[int],
    group: Group | None,
) -> GatheredLabels:
    """Labels, sweeps, subjects and validity of all ranks' rows, on the CPU.

    One exchange, and one wait for a device. `counts` are the rows of every rank.
    """
    if valid is None:
        is_valid = labels.new_ones(labels.shape[1])
    else:
        is_valid = valid.long()
        labels = torch.where(valid, labels, MISSING_CLASS)
    columns = [*labels, is_valid]
    if sweep is not None:
        columns.append(sweep)
    if subject is not None:
        columns.append(subject)
    table = gather(torch.stack(columns, dim=1), counts, group).cpu()

    tasks = len(labels)
    extra = iter(table[:, tasks + 1 :].unbind(dim=1))
    return GatheredLabels(
        labels=table[:, :tasks].T,
        sweep=None if sweep is None else next(extra),
        subject=None if subject is None else next(extra),
        valid=table[:, tasks],
    )


def agree(
    embeddings: Tensor,
    labels: Tensor,
    temperature: float | Tensor,
    sweep: Tensor | None,
    subject: Tensor | None,
    valid: Tensor | None,
    group: Group | None,
) -> Agreed:
    """What ranks tell each other, once all ranks' input is known to fit together. Collective.

    One exchange, and one wait for a device.

    Raises:
        ValueError: on all ranks, never a hang, if one rank's input is bad or ranks disagree.
    """
    problem = _problem(embeddings, labels, temperature, sweep, subject, valid)
    tasks, rows, dimensions = (*embeddings.shape, 0, 0, 0)[:3]  # of any shape, where it is bad
    is_bad = float(problem is not None)
    told = [is_bad, tasks, rows, dimensions, sweep is not None, subject is not None]
    computed = torch.zeros(2, dtype=torch.float64, device=embeddings.device)
    if problem is None:
        with torch.no_grad():
            computed[0] = temperature
            computed[1] = _largest_square(embeddings, valid)
    shapes = to_device(np.array(told, dtype=np.float64), str(embeddings.device))
    claims = [
        _Claim(*claim) for claim in gather_equal(torch.cat([shapes, computed]), group).tolist()
    ]
    own = claims[world_of(group)[0]]
    if problem is None and not own.temperature > 0:  # NaN too
        problem = f"temperature must be > 0, got {own.temperature}"
    if problem:
        raise ValueError(problem)
    for rank, claim in enumerate(claims):
        if claim.is_bad or not claim.temperature > 0:
            raise ValueError(
                f"the contrastive loss was given bad input on rank {rank}; its own message tells "
                "what"
            )
    if len({claim._replace(rows=0, temperature=0, largest_square=0) for claim in claims}) > 1:
        shapes_of_ranks = [tuple(map(int, claim[1:4])) for claim in claims]
        raise ValueError(
            "ranks must agree on T and D of embeddings (T, N, D) and on sweep and subject; got "
            f"{shapes_of_ranks}"
        )
    # NaN, of which max() may lose sight, is larger than any number.
    largest_square = float(np.max([claim.largest_square for claim in claims]))
    return Agreed([int(claim.rows) for claim in claims], own.temperature, largest_square)


def _largest_square(embeddings: Tensor, valid: Tensor | None) -> Tensor:
    """Largest square of the norms of the rows that are valid, scalar; 0 where there is none."""
    if embeddings.shape[0] == 0 or embeddings.shape[1] == 0:
        return embeddings.new_zeros(())
    wide = torch.float64 if embeddings.dtype == torch.float64 else torch.float32
    norms = torch.linalg.vector_norm(embeddings, dim=-1, dtype=wide)
    if valid is not None:
        norms = torch.where(valid, norms, 0.0)
    return norms.max().square()


def _problem(
    embeddings: Tensor,
    labels: Tensor,
    temperature: float | Tensor,
    sweep: Tensor | None,
    subject: Tensor | None,
    valid: Tensor | None,
) -> str | None:
    """What is wrong with the shapes and types of this rank's input; None if nothing is."""
    if embeddings.ndim != 3 or not embeddings.is_floating_point():
        return f"embeddings must be floating (T, N, D), got {_described(embeddings)}"
    tasks, rows, _ = embeddings.shape
    if labels.shape != (tasks, rows) or labels.dtype != torch.int64:
        return f"labels must be int64 {(tasks, rows)}, got {_described(labels)}"
    per_row = [
        ("sweep", sweep, torch.int64),
        ("subject", subject, torch.int64),
        ("valid", valid, torch.bool),
    ]
    for name, tensor, dtype in per_row:
        if tensor is not None and (tensor.shape != (rows,) or tensor.dtype != dtype):
            return f"{name} must be {dtype} ({rows},), got {_described(tensor)}"
    if isinstance(temperature, Tensor) and temperature.numel() != 1:
        return f"temperature must be one number, got shape {tuple(temperature.shape)}"
    return None


def _described(tensor: Tensor) -> str:
    return f"{tensor.dtype} {tuple(tensor.shape)}"
