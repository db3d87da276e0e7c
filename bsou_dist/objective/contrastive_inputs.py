"""Agreement of ranks on the input of a contrastive loss, before anything large is exchanged.

Shapes: T tasks, N rows of this rank, R rows of all ranks, D dimensions.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from bsou_dist.objective.collective import Group, exchange_sizes, gather, world_of
from bsou_dist.tasks.labels import MISSING_CLASS


class _Claim(NamedTuple):
    """What a rank tells the others of its input, in integers."""

    is_bad: int
    tasks: int
    rows: int
    dimensions: int
    has_sweep: int
    has_subject: int


def gather_labels(
    labels: Tensor,
    sweep: Tensor | None,
    subject: Tensor | None,
    valid: Tensor | None,
    counts: list[int],
    group: Group | None,
) -> tuple[Tensor, Tensor | None, Tensor | None, int]:
    """Labels (T, R), sweeps and subjects (R,) of all ranks' rows, and the number of valid rows.

    One exchange. `counts` are the rows of every rank. Rows that are not valid come back without a
    label in any task.
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
    table = gather(torch.stack(columns, dim=1), counts, group)

    tasks = len(labels)
    valid_rows = int(table[:, tasks].sum())
    extra = iter(table[:, tasks + 1 :].unbind(dim=1))
    all_sweep = None if sweep is None else next(extra)
    all_subject = None if subject is None else next(extra)
    return table[:, :tasks].T, all_sweep, all_subject, valid_rows


def agree(
    embeddings: Tensor,
    labels: Tensor,
    temperature: Tensor,
    sweep: Tensor | None,
    subject: Tensor | None,
    valid: Tensor | None,
    group: Group | None,
) -> list[int]:
    """Number of rows of every rank, once all ranks' input is known to fit together. Collective.

    Raises:
        ValueError: on all ranks, never a hang, if one rank's input is bad or ranks disagree.
    """
    problem = _problem(embeddings, labels, temperature, sweep, subject, valid)
    tasks, rows, dimensions = (*embeddings.shape, 0, 0, 0)[:3]  # of any shape, where it is bad
    own = _Claim(
        is_bad=int(problem is not None),
        tasks=tasks,
        rows=rows,
        dimensions=dimensions,
        has_sweep=int(sweep is not None),
        has_subject=int(subject is not None),
    )
    claims = [_Claim(*sizes) for sizes in exchange_sizes(list(own), group, embeddings.device)]
    if problem:
        raise ValueError(problem)
    for rank, claim in enumerate(claims):
        if claim.is_bad:
            raise ValueError(
                f"the contrastive loss was given bad input on rank {rank}; its own message tells "
                "what"
            )
    if len({claim._replace(rows=0) for claim in claims}) > 1:
        shapes = [(claim.tasks, claim.rows, claim.dimensions) for claim in claims]
        raise ValueError(
            "ranks must agree on T and D of embeddings (T, N, D) and on sweep and subject; got "
            f"{shapes}"
        )
    assert len(claims) == world_of(group)[1]
    return [claim.rows for claim in claims]


def _problem(
    embeddings: Tensor,
    labels: Tensor,
    temperature: Tensor,
    sweep: Tensor | None,
    subject: Tensor | None,
    valid: Tensor | None,
) -> str | None:
    """What is wrong with this rank's input; None if nothing is."""
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
    if temperature.numel() != 1:
        return f"temperature must be one number, got shape {tuple(temperature.shape)}"
    tau = temperature.detach().item()
    if not tau > 0:  # NaN too
        return f"temperature must be > 0, got {tau}"
    return None


def _described(tensor: Tensor) -> str:
    return f"{tensor.dtype} {tuple(tensor.shape)}"
