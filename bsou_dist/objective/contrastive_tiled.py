"""The contrastive loss in tiles: no N x N matrix, forward or backward, and half the work for pairs
of local rows.

In the notation of [P1] eq. 2, with s_ij = z_i.z_j / tau:

- PositiveSets need no matrix. The positives of i are the rows of its group (label, or label and
  sweep) without those of its own patient, or without itself; their scores sum to z_i.(sum of their
  z) / tau, and group sums cost N x D.
- Denominators need log-sum-exps only. Each rank makes those of its own rows. After one exchange of
  them every rank knows all N, hence the loss and the whole gradient of its own rows, since s is
  symmetric:

      dL/dz_i = 1/(|B| tau) sum_j (u_i exp(s_ij - lse_i) + u_j exp(s_ij - lse_j)) z_j - (the part of
      the positives)

  with u_i = 1 for an anchor that has a positive and 0 for another row.
- A pair of tiles whose rows are both local is computed once: it serves its rows and, transposed,
  its columns.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from bsou_dist.objective.collective import Group, gather, world_of
from bsou_dist.tasks.labels import MISSING_CLASS

TILE_ROWS = {"cpu": 512, "cuda": 8192}
"""Side of a tile: large enough for matrix products at full speed, small beside N x D."""
FUSED = {"cpu": False, "cuda": True}
"""Whether what is done to a tile between its matrix products is compiled into one pass over it. A
GPU needs that, being bound by memory there; a CPU gains little and would wait for its compiler.
"""


class PositiveSets:
    """Which rows are positives of which: those of the same group, without those of the same part of
    it.

    Args:
        group: (M,) int64, negative where a row has no positives.
        part: (M,) int64, rows of one patient in one group; None where only the row itself is left
            out.
    """

    def __init__(self, group: Tensor, part: Tensor | None) -> None:
        self.grouped = group >= 0
        self.group, self.groups = _numbered(group)
        self.part: Tensor | None = None
        if part is not None:
            self.part, self.parts = _numbered(part)

    def counts(self) -> Tensor:
        """Number of positives of every row, (M,) int64."""
        whole = torch.bincount(self.group, minlength=self.groups)[self.group]
        own = 1 if self.part is None else torch.bincount(self.part, minlength=self.parts)[self.part]
        return torch.where(self.grouped, whole - own, 0)

    def sums(self, z: Tensor, weight: Tensor) -> Callable[[slice], Tensor]:
        """Sum of weight z over the positives of each row of a slice, (len, D). z (M, D), weight
        (M,).
        """
        of_groups = _totals(self.group, self.groups, z, weight)
        of_parts = None if self.part is None else _totals(self.part, self.parts, z, weight)

        def of(rows: slice) -> Tensor:
            total = of_groups[self.group[rows]]
            if self.part is None or of_parts is None:
                total -= z[rows] * weight[rows, None]
            else:
                total -= of_parts[self.part[rows]]
            return total.mul_(self.grouped[rows, None])

        return of


@dataclass(frozen=True)
class LabelledRows:
    """The rows of all ranks that have a label for a task: z (M, D); those from `start` to `stop`
    are local.
    """

    z: Tensor
    start: int
    stop: int
    positives: PositiveSets
    tau: float

    def pairs(self) -> Iterator[tuple[slice, slice, bool]]:
        """Pairs of tiles: local rows, columns, and whether the transposed pair is served by the
        same scores.
        """
        side = TILE_ROWS[self.z.device.type]
        local = _tiles(self.start, self.stop, side)
        remote = _tiles(0, self.start, side) + _tiles(self.stop, len(self.z), side)
        for number, rows in enumerate(local):
            for columns in local[number:]:
                yield rows, columns, columns != rows
            for columns in remote:
                yield rows, columns, False

    def local(self, rows: slice) -> slice:
        """A slice of local rows, counted from the first local one."""
        return slice(rows.start - self.start, rows.stop - self.start)

    def scores(self, rows: slice, columns: slice, scratch: Tensor) -> Tensor:
        """s of a pair of tiles, in `scratch`; -inf for a row with itself."""
        height, width = rows.stop - rows.start, columns.stop - columns.start
        scores = scratch[: height * width].view(height, width)
        torch.addmm(scores, self.z[rows], self.z[columns].T, beta=0, alpha=1 / self.tau, out=scores)
        if rows == columns:
            scores.fill_diagonal_(-torch.inf)
        return scores

    def scratch(self) -> Tensor:
        """Room for a tile."""
        return self.z.new_empty(min(TILE_ROWS[self.z.device.type], len(self.z)) ** 2)

    def shift(self) -> Tensor | None:
        """A bound of all |s|, scalar, if exp(s - bound) neither vanishes nor overflows for any
        pair; else None.

        With it, no maximum is looked for, and one exponential serves both rows of a pair.
        """
        bound = self.z.square().sum(dim=1).max() / self.tau
        return bound if 2 * bound.item() < math.log(torch.finfo(self.z.dtype).max) - 4 else None

    def log_sum_exps(self) -> Tensor:
        """lse of the local rows over all other rows, (stop - start,); -inf for a row without
        another.
        """
        shift, scratch = self.shift(), self.scratch()
        if shift is None:
            lse = self.z.new_full((self.stop - self.start,), -torch.inf)
            for rows, columns, both in self.pairs():
                scores = self.scores(rows, columns, scratch)
                for tile, dim in ((rows, 1), (columns, 0))[: 1 + both]:
                    lse[self.local(tile)] = torch.logaddexp(
                        lse[self.local(tile)], scores.logsumexp(dim=dim)
                    )
            return lse
        total = self.z.new_zeros(self.stop - self.start)
        exp_sums = _fused(_exp_sums, self.z.device)
        for rows, columns, both in self.pairs():
            of_rows, of_columns = exp_sums(self.scores(rows, columns, scratch), shift, both)
            total[self.local(rows)] += of_rows
            if both:
                total[self.local(columns)] += of_columns
        return total.log_().add_(shift)

    def mean_positive(self) -> Tensor:
        """Mean score of the positives of every row, (M,); 0 where there are none."""
        share = 1 / (self.positives.counts().clamp(min=1).to(self.z.dtype) * self.tau)
        sums = self.positives.sums(self.z, torch.ones_like(share))
        return torch.cat(
            [
                (self.z[rows] * sums(rows)).sum(dim=1) * share[rows]
                for rows in _tiles(0, len(self.z), TILE_ROWS[self.z.device.type])
            ]
            or [share]
        )

    def gradient(self, anchors: Tensor, lse: Tensor) -> Tensor:
        """tau times the gradient of sum_i u_i (lse_i - mean positive score of i) with respect to
        the local rows.

        anchors: (M,) bool, u. lse: (M,) of all ranks. Returns (stop - start, D).
        """
        gradient = self.denominator_gradient(anchors, lse)
        counts = self.positives.counts()
        share = (counts > 0).to(self.z.dtype) / counts.clamp(min=1)
        as_anchor = self.positives.sums(self.z, torch.ones_like(share))
        as_positive = self.positives.sums(self.z, share)
        for rows in _tiles(self.start, self.stop, TILE_ROWS[self.z.device.type]):
            gradient[self.local(rows)] -= (
                as_anchor(rows).mul_(share[rows, None]).add_(as_positive(rows))
            )
        return gradient

    def score_gradient_sum(self, gradient: Tensor) -> Tensor:
        """Sum of s . dL/ds over the local rows, scalar, from their dL/dz: s is bilinear in z, so z
        . dL/dz counts every pair twice.
        """
        return torch.stack(
            [
                (self.z[rows] * gradient[self.local(rows)]).sum() / 2
                for rows in _tiles(self.start, self.stop, TILE_ROWS[self.z.device.type])
            ]
            or [gradient.sum()]
        ).sum()

    def denominator_gradient(self, anchors: Tensor, lse: Tensor) -> Tensor:
        """tau times the gradient of sum_i u_i lse_i with respect to the local rows, (stop - start,
        D).

        anchors: (M,) bool. lse: (M,) of all ranks.
        """
        shift, scratch = self.shift(), self.scratch()
        gradient = self.z.new_zeros(self.stop - self.start, self.z.shape[1])
        u = anchors.to(self.z.dtype)
        weight = None if shift is None else torch.where(anchors, torch.exp(shift - lse), 0.0)
        weigh = _fused(_weigh, self.z.device)
        for rows, columns, both in self.pairs():
            scores = self.scores(rows, columns, scratch)
            if shift is not None and weight is not None:
                weigh(scores, shift, weight[rows], weight[columns])
            else:
                forth = (scores - lse[rows, None]).exp_().mul_(u[rows, None])
                scores.sub_(lse[columns]).exp_().mul_(u[columns]).add_(forth)
            gradient[self.local(rows)].addmm_(scores, self.z[columns])
            if both:
                gradient[self.local(columns)].addmm_(scores.T, self.z[rows])
        return gradient


def _fused(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    return _compiled(function) if FUSED[device.type] and _can_compile(device.type) else function


@cache
def _can_compile(device: str) -> bool:
    """Whether torch finds the compilers that it needs for a device; said where it does not."""
    try:
        torch.compile(lambda x: x.exp().sum(), dynamic=True)(torch.ones(2, 2, device=device))
    except Exception as error:
        print(
            f"note: torch cannot compile for {device} here ({str(error).splitlines()[0]}); the "
            "contrastive loss is "
            "as exact without, and slower",
            file=sys.stderr,
        )
        return False
    return True


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function, dynamic=True)


def _exp_sums(scores: Tensor, shift: Tensor, both: bool) -> tuple[Tensor, Tensor | None]:
    """Sums of exp(scores - shift) along rows and, if `both`, columns."""
    exps = (
        scores - shift
    ).exp_()  # not in place: compiled, the exponentials are never written to memory
    return exps.sum(dim=1), exps.sum(dim=0) if both else None


def _weigh(scores: Tensor, shift: Tensor, of_rows: Tensor, of_columns: Tensor) -> None:
    """Replace scores by exp(scores - shift) (of_rows_i + of_columns_j)."""
    scores.sub_(shift).exp_().mul_(of_rows[:, None] + of_columns)


class TiledSupcon(torch.autograd.Function):
    """sum_t sum_i of `multitask_supcon` over the valid rows; see there, and the module's text for
    how.
    """

    @staticmethod
    def forward(
        ctx: Any,
        local: Tensor,
        temperature: Tensor,
        labels: Tensor,
        sweep: Tensor | None,
        subject: Tensor | None,
        counts: list[int],
        group: Group | None,
    ) -> Tensor:
        """local (T, n, D); labels (T, N), sweep (N,) and subject (N,) of all ranks, counts[r] rows
        from rank r.
        """
        rank, ctx.world = world_of(group)
        wide = local.dtype if local.dtype == torch.float64 else torch.float32
        z = gather(local.detach().to(wide), counts, group, dim=1)
        ctx.start, ctx.stop = sum(counts[:rank]), sum(counts[: rank + 1])
        ctx.tau, ctx.dtype, ctx.tau_shape = temperature.item(), local.dtype, temperature.shape
        ctx.shape = local.shape
        ctx.tasks = {
            t: task
            for t, label in enumerate(labels)
            if (task := _task(z[t], label, sweep, subject, ctx.start, ctx.stop, ctx.tau))
            is not None
        }
        own = z.new_zeros(local.shape[:2])
        for t, (rows, index, _) in ctx.tasks.items():
            own[t, index[rows.start : rows.stop] - ctx.start] = rows.log_sum_exps()
        ctx.lse = gather(own, counts, group, dim=1)
        total = z.new_zeros(())
        for t, (rows, index, anchors) in ctx.tasks.items():
            total += (ctx.lse[t, index] - rows.mean_positive()).masked_fill_(~anchors, 0.0).sum()
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        scale = grads[0] * ctx.world / ctx.tau
        gradient = ctx.lse.new_zeros(ctx.shape)
        scores_sum = ctx.lse.new_zeros(())
        for t, (rows, index, anchors) in ctx.tasks.items():
            of_rows = rows.gradient(anchors, ctx.lse[t, index])
            scores_sum += rows.score_gradient_sum(of_rows)
            gradient[t, index[rows.start : rows.stop] - ctx.start] = of_rows
        of_tau = (-scale * scores_sum / ctx.tau).reshape(ctx.tau_shape)
        return (gradient.mul_(scale).to(ctx.dtype), of_tau, None, None, None, None, None)


def _task(
    z: Tensor,
    label: Tensor,
    sweep: Tensor | None,
    subject: Tensor | None,
    start: int,
    stop: int,
    tau: float,
) -> tuple[LabelledRows, Tensor, Tensor] | None:
    """The labelled rows of a task, their places (M,) among all, and which of them are anchors; None
    if none is.
    """
    index = (label != MISSING_CLASS).nonzero()[:, 0]
    if len(index) == 0:
        return None
    group = label[index]
    if sweep is not None:
        of_rows = sweep[index]
        group = torch.where(of_rows < 0, -1, group * (sweep.max() + 1) + of_rows)
    part = (
        None
        if subject is None
        else torch.unique(torch.stack([group, subject[index]]), dim=1, return_inverse=True)[1]
    )
    positives = PositiveSets(group, part)
    anchors = positives.counts() > 0
    if not anchors.any():
        return None
    labelled = z if len(index) == len(z) else z[index]
    first, last = torch.searchsorted(
        index, torch.tensor([start, stop], device=index.device)
    ).tolist()
    return LabelledRows(labelled, first, last, positives, tau), index, anchors


def _tiles(start: int, stop: int, side: int) -> list[slice]:
    return [slice(at, min(at + side, stop)) for at in range(start, stop, side)]


def _numbered(values: Tensor) -> tuple[Tensor, int]:
    """Values as 0 .. K-1, and K."""
    distinct, number = torch.unique(values, return_inverse=True)
    return number, len(distinct)


def _totals(number: Tensor, count: int, z: Tensor, weight: Tensor) -> Tensor:
    """(count, D) sums of weight z by number, in pieces that need no copy of z."""
    totals = z.new_zeros(count, z.shape[1])
    for rows in _tiles(0, len(z), TILE_ROWS[z.device.type]):
        totals.index_add_(0, number[rows], z[rows] * weight[rows, None])
    return totals
