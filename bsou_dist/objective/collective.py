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


def exchange_sizes(sizes: list[int], group: Group | None, device: torch.device) -> list[list[int]]:
    """Every rank's `sizes` (equally long on all ranks), in rank order."""
    _, world = world_of(group)
    if world == 1:
        return [sizes]
    mine = torch.tensor(sizes, dtype=torch.int64, device=device)
    all_sizes = [torch.empty_like(mine) for _ in range(world)]
    dist.all_gather(all_sizes, mine, group=group)
    return [sizes_of_rank.tolist() for sizes_of_rank in all_sizes]


def gather(rows: Tensor, counts: list[int], group: Group | None = None, dim: int = 0) -> Tensor:
    """Rows of all ranks along `dim`, in rank order, without a gradient.

    counts[r] of them come from rank r; it may have none.
    """
    if len(counts) == 1:
        return rows
    # Collectives take tensors of one shape.
    shape = [*rows.shape]
    shape[dim] = max(counts)
    padded = rows.new_zeros(shape)
    padded.narrow(dim, 0, rows.shape[dim]).copy_(rows)
    per_rank = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(per_rank, padded, group=group)
    parts = [part.narrow(dim, 0, count) for part, count in zip(per_rank, counts, strict=True)]
    return torch.cat(parts, dim=dim)


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
    """`gather` along dimension 0, differentiable.

    Backward returns the local rows of the gradient times the world size: valid because every rank
    differentiates the same scalar of the same gathered rows.
    """
    return _GatherRows.apply(rows, counts, group)
