"""What ranks must agree on before a contrastive loss exchanges anything large, and the small things
they exchange.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bsou_dist.objective.collective import Group, exchange_sizes, gather, world_of
from bsou_dist.tasks.labels import MISSING_CLASS


def gather_labels(
    labels: Tensor,
    sweep: Tensor | None,
    subject: Tensor | None,
    valid: Tensor | None,
    counts: list[int],
    group: Group | None,
) -> tuple[Tensor, Tensor | None, Tensor | None, int]:
    """Labels (T, N), sweeps and subjects (N,) of all ranks' rows, in one exchange; and the number
    of valid rows.

    Rows that are not valid come back without a label in any task.
    """
    if valid is not None:
        labels = torch.where(valid, labels, MISSING_CLASS)
    there = labels.new_ones(labels.shape[1]) if valid is None else valid.long()
    extra = [one for one in (sweep, subject) if one is not None]
    rows = gather(torch.stack([*labels, there, *extra], dim=1), counts, group)
    tasks = len(labels)
    columns = iter(rows[:, tasks + 1 :].unbind(dim=1))
    return (
        rows[:, :tasks].T,
        None if sweep is None else next(columns),
        None if subject is None else next(columns),
        int(rows[:, tasks].sum()),
    )


def agree(
    embeddings: Tensor,
    labels: Tensor,
    temperature: Tensor,
    sweep: Tensor | None,
    subject: Tensor | None,
    valid: Tensor | None,
    group: Group | None,
) -> list[int]:
    """Rows of every rank; ValueError on all ranks, never a hang, if one rank's input is bad or
    ranks disagree.
    """
    problem = _problem(embeddings, labels, temperature, sweep, subject, valid)
    shape = (*embeddings.shape, 0, 0, 0)[:3]
    claims = [int(problem is not None), *shape, int(sweep is not None), int(subject is not None)]
    ranks = exchange_sizes(claims, group, embeddings.device)
    if problem:
        raise ValueError(problem)
    bad = [rank for rank, claim in enumerate(ranks) if claim[0]]
    if bad:
        raise ValueError(
            f"the contrastive loss was given bad input on rank {bad[0]}; its own message tells what"
        )
    if len({(claim[1], *claim[3:]) for claim in ranks}) > 1:
        shapes = [tuple(claim[1:4]) for claim in ranks]
        raise ValueError(
            "ranks must agree on T and D of embeddings (T, N, D) and on sweep and subject; got "
            f"{shapes}"
        )
    assert len(ranks) == world_of(group)[1]
    return [claim[2] for claim in ranks]


def _problem(
    embeddings: Tensor,
    labels: Tensor,
    temperature: Tensor,
    sweep: Tensor | None,
    subject: Tensor | None,
    valid: Tensor | None,
) -> str | None:
    if embeddings.ndim != 3 or not embeddings.is_floating_point():
        return (
            f"embeddings must be floating (T, N, D), got {embeddings.dtype} "
            f"{tuple(embeddings.shape)}"
        )
    if labels.shape != embeddings.shape[:2] or labels.dtype != torch.int64:
        return (
            f"labels must be int64 {tuple(embeddings.shape[:2])}, got {labels.dtype} "
            f"{tuple(labels.shape)}"
        )
    rows = embeddings.shape[1]
    for name, tensor, dtype in (
        ("sweep", sweep, torch.int64),
        ("subject", subject, torch.int64),
        ("valid", valid, torch.bool),
    ):
        if tensor is not None and (tensor.shape != (rows,) or tensor.dtype != dtype):
            return f"{name} must be {dtype} ({rows},), got {tensor.dtype} {tuple(tensor.shape)}"
    if temperature.numel() != 1:
        return f"temperature must be one number, got shape {tuple(temperature.shape)}"
    if not temperature.detach().item() > 0:
        return f"temperature must be > 0, got {temperature.detach().item()}"
    return None
