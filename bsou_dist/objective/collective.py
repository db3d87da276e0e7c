"""Differentiable sums and rows over all ranks.

One convention everywhere: a loss has the same global value on every rank, and its backward gives W
times the one-process gradient of the local rows (W ranks), because engines average gradients over
ranks. The mean over ranks is then the one-process gradient. Every rank computes the same scalar, so
no backward here needs communication.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

Group = dist.ProcessGroup


def world_of(group: Group | None) -> tuple[int, int]:
    """Rank and size in `group`, by default the default group; (0, 1) where none is initialised."""
    if group is None and not (dist.is_available() and dist.is_initialized()):
        return 0, 1
    return dist.get_rank(group), dist.get_world_size(group)


class _GlobalSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor, group: Group | None) -> Tensor:
        _, ctx.world = world_of(group)
        total = local.detach().clone()
        if ctx.world > 1:
            dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] * ctx.world, None


def global_sum(local: Tensor, group: Group | None = None) -> Tensor:
    """Sum of `local` over ranks; backward multiplies by the world size (see the module's text)."""
    return _GlobalSum.apply(local, group)


def gather_equal(rows: Tensor, group: Group | None = None) -> Tensor:
    """Every rank's `rows`, stacked in rank order, without a gradient.

    `rows` have one shape on all ranks. One launch, however many ranks there are.
    """
    _, world = world_of(group)
    if world == 1:
        return rows[None]
    gathered = rows.new_empty((world * len(rows), *rows.shape[1:]))
    dist.all_gather_into_tensor(gathered, rows.contiguous(), group=group)
    return gathered.unflatten(0, (world, len(rows)))


def gather(rows: Tensor, counts: list[int], group: Group | None = None) -> Tensor:
    """Rows of all ranks along dimension 0, in rank order, without a gradient.

    counts[r] of them come from rank r; it may have none.
    """
    if len(counts) == 1:
        return rows
    per_rank = gather_equal(padded(rows, max(counts)), group)
    return torch.cat([part[:count] for part, count in zip(per_rank, counts, strict=True)])


def padded(rows: Tensor, length: int, dim: int = 0) -> Tensor:
    """Rows, with zeros behind them up to `length` along `dim`."""
    if rows.shape[dim] == length:
        return rows
    shape = [*rows.shape]
    shape[dim] = length
    longer = rows.new_zeros(shape)
    longer.narrow(dim, 0, rows.shape[dim]).copy_(rows)
    return longer


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: list[int], group: Group | None) -> Tensor:
        rank, ctx.world = world_of(group)
        ctx.start = sum(counts[:rank])
        ctx.stop = ctx.start + counts[rank]
        return gather(rows, counts, group)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return grads[0][ctx.start : ctx.stop] * ctx.world, None, None


def gather_rows(rows: Tensor, counts: list[int], group: Group | None = None) -> Tensor:
    """`gather`, differentiable.

    Backward returns the local rows of the gradient times the world size: valid because every rank
    differentiates the same scalar of the same gathered rows.
    """
    return _GatherRows.apply(rows, counts, group)
