"""The contrastive loss in tiles: no matrix of all pairs, and half the work for local pairs.

Shapes: T tasks, N rows of this rank, R rows of all ranks, M of those R with a label for the task at
hand, L of those M on this rank, D dimensions.

In the notation of equation 2 of [P1] (see `contrastive.py`), with s_ij = z_i.z_j / tau:

- Positives need no matrix of their own (see `contrastive_positives.py`).
- Denominators need log-sum-exps (lse) only. Each rank makes those of its own rows. After one
  exchange of them every rank knows all R, hence the loss and the whole gradient of its own rows,
  since s is symmetric:

      dL/dz_i = 1/(|B| tau) sum_j (u_i exp(s_ij - lse_i) + u_j exp(s_ij - lse_j)) z_j
                - (the part of the positives)

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
from bsou_dist.objective.contrastive_positives import TILE_ROWS, PositiveSets, tiles
from bsou_dist.tasks.labels import MISSING_CLASS

FUSED = {"cpu": False, "cuda": True}
"""Whether what is done to a tile between its matrix products is compiled into one pass over it.

A GPU needs that, being bound by memory there; a CPU gains little and would wait for its compiler.
"""


@dataclass(frozen=True)
class LabelledRows:
    """The rows of all ranks that have a label for a task, and their log-sum-exps and gradients.

    Rows from `start` to `stop` are those of this rank. `lse` stands for all log-sum-exps, (M,).
    """

    z: Tensor
    """(M, D)."""
    index: Tensor
    """Positions among the rows of all ranks, (M,) int64."""
    anchors: Tensor
    """Whether a row has a positive, (M,) bool."""
    positives: PositiveSets
    start: int
    stop: int
    own_index: Tensor
    """Positions of this rank's rows among its N, (L,) int64."""
    tau: float

    @property
    def tile_rows(self) -> int:
        """Side of a tile on this device."""
        return TILE_ROWS[self.z.device.type]

    def pairs(self) -> Iterator[tuple[slice, slice, bool]]:
        """Pairs of tiles: local rows, columns, and whether the scores serve the columns as well."""
        local_tiles = tiles(self.start, self.stop, self.tile_rows)
        before = tiles(0, self.start, self.tile_rows)
        after = tiles(self.stop, len(self.z), self.tile_rows)
        for number, rows in enumerate(local_tiles):
            for columns in local_tiles[number:]:
                yield rows, columns, columns != rows
            for columns in before + after:
                yield rows, columns, False

    def local(self, rows: slice) -> slice:
        """A slice of local rows, counted from the first local one."""
        return slice(rows.start - self.start, rows.stop - self.start)

    def scores(self, rows: slice, columns: slice, scratch: Tensor) -> Tensor:
        """Scores s of a pair of tiles, in `scratch`; -inf for a row with itself."""
        height = rows.stop - rows.start
        width = columns.stop - columns.start
        scores = scratch[: height * width].view(height, width)
        torch.addmm(scores, self.z[rows], self.z[columns].T, beta=0, alpha=1 / self.tau, out=scores)
        if rows == columns:
            scores.fill_diagonal_(-torch.inf)
        return scores

    def scratch(self) -> Tensor:
        """Room for the scores of a pair of tiles."""
        return self.z.new_empty(min(self.tile_rows, len(self.z)) ** 2)

    def shift(self) -> Tensor | None:
        """A bound of all |s|, scalar, where it can stand for every row's maximum; else None.

        With it, no maximum is looked for, and one exponential serves both rows of a pair.
        """
        bound = self.z.square().sum(dim=1).max() / self.tau
        # exp(s - bound) is exp(-2 bound) at least, which must not vanish, and exp(bound - lse) is
        # exp(2 bound) at most, which must not overflow. 4 is a margin for either.
        suits = 2 * bound.item() < math.log(torch.finfo(self.z.dtype).max) - 4
        return bound if suits else None

    def log_sum_exps(self) -> Tensor:
        """lse of the local rows over all other rows, (L,); -inf for a row without another."""
        shift = self.shift()
        if shift is None:
            return self._log_sum_exps_by_maxima()
        scratch = self.scratch()
        sums = self.z.new_zeros(self.stop - self.start)
        exp_sums = _fused(_exp_sums, self.z.device)
        for rows, columns, both in self.pairs():
            scores = self.scores(rows, columns, scratch)
            row_sums, column_sums = exp_sums(scores, shift, both)
            sums[self.local(rows)] += row_sums
            if both:
                sums[self.local(columns)] += column_sums
        return sums.log_().add_(shift)

    def _log_sum_exps_by_maxima(self) -> Tensor:
        """`log_sum_exps` for scores of any size."""
        scratch = self.scratch()
        lse = self.z.new_full((self.stop - self.start,), -torch.inf)
        for rows, columns, both in self.pairs():
            scores = self.scores(rows, columns, scratch)
            own = self.local(rows)
            lse[own] = torch.logaddexp(lse[own], scores.logsumexp(dim=1))
            if both:
                own = self.local(columns)
                lse[own] = torch.logaddexp(lse[own], scores.logsumexp(dim=0))
        return lse

    def mean_positive(self) -> Tensor:
        """Mean score of the positives of every row, (M,); 0 where there are none."""
        counts = self.positives.counts().clamp(min=1).to(self.z.dtype)
        share = 1 / (counts * self.tau)
        positive_sums = self.positives.sums(self.z, torch.ones_like(share))
        means = []
        for rows in tiles(0, len(self.z), self.tile_rows):
            score_sums = (self.z[rows] * positive_sums(rows)).sum(dim=1)
            means.append(score_sums * share[rows])
        return torch.cat(means)

    def gradient(self, lse: Tensor) -> Tensor:
        """tau times the gradient of sum_i u_i (lse_i - mean positive score of i), (L, D).

        It is the gradient with respect to the local rows.
        """
        gradient = self.denominator_gradient(lse)
        counts = self.positives.counts()
        share = (counts > 0).to(self.z.dtype) / counts.clamp(min=1)
        as_anchor = self.positives.sums(self.z, torch.ones_like(share))
        as_positive = self.positives.sums(self.z, share)
        for rows in tiles(self.start, self.stop, self.tile_rows):
            of_positives = as_anchor(rows).mul_(share[rows, None]).add_(as_positive(rows))
            gradient[self.local(rows)] -= of_positives
        return gradient

    def score_gradient_sum(self, gradient: Tensor) -> Tensor:
        """Sum of s dL/ds over the local rows, scalar, from their dL/dz, `gradient` (L, D).

        s is bilinear in z, so that z dL/dz counts every pair twice.
        """
        if self.start == self.stop:
            return gradient.sum()
        sums = []
        for rows in tiles(self.start, self.stop, self.tile_rows):
            sums.append((self.z[rows] * gradient[self.local(rows)]).sum() / 2)
        return torch.stack(sums).sum()

    def denominator_gradient(self, lse: Tensor) -> Tensor:
        """tau times the gradient of sum_i u_i lse_i with respect to the local rows, (L, D)."""
        shift = self.shift()
        scratch = self.scratch()
        gradient = self.z.new_zeros(self.stop - self.start, self.z.shape[1])
        u = self.anchors.to(self.z.dtype)
        weigh = _fused(_weigh, self.z.device)
        if shift is not None:
            factor = torch.where(self.anchors, torch.exp(shift - lse), 0.0)
        for rows, columns, both in self.pairs():
            scores = self.scores(rows, columns, scratch)
            if shift is not None:
                weigh(scores, shift, factor[rows], factor[columns])
            else:
                of_rows = (scores - lse[rows, None]).exp_().mul_(u[rows, None])
                scores.sub_(lse[columns]).exp_().mul_(u[columns]).add_(of_rows)
            gradient[self.local(rows)].addmm_(scores, self.z[columns])
            if both:
                gradient[self.local(columns)].addmm_(scores.T, self.z[rows])
        return gradient


def _fused(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """`function`, compiled where that is wanted and possible."""
    if FUSED[device.type] and _can_compile(device.type):
        return _compiled(function)
    return function


@cache
def _can_compile(device: str) -> bool:
    """Whether torch finds the compilers that it needs for a device; said where it does not."""
    try:
        torch.compile(lambda x: x.exp().sum(), dynamic=True)(torch.ones(2, 2, device=device))
    except Exception as error:
        reason = str(error).splitlines()[0]
        print(
            f"note: torch cannot compile for {device} here ({reason}); the contrastive loss is as "
            "exact without, and slower",
            file=sys.stderr,
        )
        return False
    return True


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function, dynamic=True)


def _exp_sums(scores: Tensor, shift: Tensor, both: bool) -> tuple[Tensor, Tensor | None]:
    """Sums of exp(scores - shift) along rows and, if `both`, columns."""
    # The difference is not made in place: compiled, the exponentials are never written to memory.
    exps = (scores - shift).exp_()
    return exps.sum(dim=1), exps.sum(dim=0) if both else None


def _weigh(scores: Tensor, shift: Tensor, row_factor: Tensor, column_factor: Tensor) -> None:
    """Replace scores by exp(scores - shift) (row_factor_i + column_factor_j)."""
    scores.sub_(shift).exp_().mul_(row_factor[:, None] + column_factor)


class TiledSupcon(torch.autograd.Function):
    """The sum over tasks and valid rows in `multitask_supcon`, which divides it by |B|."""

    @staticmethod
    def forward(
        ctx: Any,
        embeddings: Tensor,
        temperature: Tensor,
        labels: Tensor,
        sweep: Tensor | None,
        subject: Tensor | None,
        counts: list[int],
        group: Group | None,
    ) -> Tensor:
        """The global sum, scalar.

        embeddings (T, N, D) are local; labels (T, R), sweep (R,) and subject (R,) are those of all
        ranks, counts[r] rows from rank r.
        """
        rank, world = world_of(group)
        start = sum(counts[:rank])
        stop = start + counts[rank]
        tau = temperature.item()
        wide = torch.float64 if embeddings.dtype == torch.float64 else torch.float32
        z = gather(embeddings.detach().to(wide), counts, group, dim=1)  # (T, R, D)

        tasks: dict[int, LabelledRows] = {}
        for task, label in enumerate(labels):
            rows = _labelled_rows(z[task], label, sweep, subject, start, stop, tau)
            if rows is not None:
                tasks[task] = rows

        own_lse = z.new_zeros(embeddings.shape[:2])  # (T, N)
        for task, rows in tasks.items():
            own_lse[task, rows.own_index] = rows.log_sum_exps()
        lse = gather(own_lse, counts, group, dim=1)  # (T, R)

        total = z.new_zeros(())
        for task, rows in tasks.items():
            per_row = lse[task, rows.index] - rows.mean_positive()
            total += per_row.masked_fill_(~rows.anchors, 0.0).sum()

        ctx.tasks = tasks
        ctx.lse = lse
        ctx.world = world
        ctx.tau = tau
        ctx.tau_shape = temperature.shape
        ctx.shape = embeddings.shape
        ctx.dtype = embeddings.dtype
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of embeddings (T, N, D) and temperature, times the world size."""
        scale = grads[0] * ctx.world / ctx.tau
        gradient = ctx.lse.new_zeros(ctx.shape)
        score_gradient_sum = ctx.lse.new_zeros(())
        for task, rows in ctx.tasks.items():
            of_rows = rows.gradient(ctx.lse[task, rows.index])
            score_gradient_sum += rows.score_gradient_sum(of_rows)
            gradient[task, rows.own_index] = of_rows
        of_embeddings = gradient.mul_(scale).to(ctx.dtype)
        of_tau = (-scale * score_gradient_sum / ctx.tau).reshape(ctx.tau_shape)
        return of_embeddings, of_tau, None, None, None, None, None


def _labelled_rows(
    z: Tensor,
    label: Tensor,
    sweep: Tensor | None,
    subject: Tensor | None,
    start: int,
    stop: int,
    tau: float,
) -> LabelledRows | None:
    """The labelled rows of a task among all rows (R,); None if no row has a positive.

    Rows from `start` to `stop` of all R are this rank's.
    """
    index = (label != MISSING_CLASS).nonzero()[:, 0]
    if len(index) == 0:
        return None
    group = label[index]
    if sweep is not None:
        sweep_of_rows = sweep[index]
        label_and_sweep = group * (sweep.max() + 1) + sweep_of_rows
        group = torch.where(sweep_of_rows < 0, -1, label_and_sweep)
    part = None
    if subject is not None:
        group_and_subject = torch.stack([group, subject[index]])
        _, part = torch.unique(group_and_subject, dim=1, return_inverse=True)
    positives = PositiveSets(group, part)
    anchors = positives.counts() > 0
    if not anchors.any():
        return None
    bounds = torch.tensor([start, stop], device=index.device)
    first, last = torch.searchsorted(index, bounds).tolist()
    return LabelledRows(
        z=z if len(index) == len(z) else z[index],
        index=index,
        anchors=anchors,
        positives=positives,
        start=first,
        stop=last,
        own_index=index[first:last] - start,
        tau=tau,
    )
