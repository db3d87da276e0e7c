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
- Pairs that the denominator leaves out have a score of -inf, which costs a pass over each tile
  that the usual denominator, of all other rows, does without.
- Rows that are labelled but not there (a clip that could not be decoded) are known on the device
  only. Their z is 0 and their exponentials are multiplied by 0, so that no shape depends on them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bsou_dist.objective.collective import Group, gather_equal, padded, world_of
from bsou_dist.objective.contrastive_plan import Denominator, Plan, TaskPlan
from bsou_dist.objective.contrastive_positives import TILE_ROWS, PositiveSets, tiles
from bsou_dist.objective.fused_tiles import exp_sums, fused, weigh
from bsou_dist.objective.tile_threads import Job, one_thread_per_product, rounds, run_jobs

LEAST_SIDE = 128
"""Rows of a tile on a CPU where there are few: enough tiles for several threads, as long as they
are worth a thread's while."""


@dataclass(frozen=True)
class LabelledRows:
    """The rows of all ranks that have a label for a task, and their log-sum-exps and gradients.

    Rows from `start` to `stop` are those of this rank. `lse` stands for all log-sum-exps, (M,).
    """

    z: Tensor
    """(M, D); 0 where a row is not there."""
    there: Tensor
    """(M,) bool."""
    positives: PositiveSets
    positive_counts: Tensor
    """Number of positives of every row, (M,) int64."""
    anchors: Tensor
    """Whether a row has a positive, and a row to compare it with, (M,) bool."""
    label: Tensor | None
    """(M,); None where every other row is in the denominator."""
    positives_stay: bool
    """Of the rows with an anchor's label, whether its positives are in the denominator."""
    shift: Tensor | None
    """A bound of all |s|, scalar, where it can stand for every row's maximum; else None.

    With it, no maximum is looked for, and one exponential serves both rows of a pair.
    """
    start: int
    stop: int
    tau: float

    @property
    def side(self) -> int:
        """Side of a tile at most."""
        return TILE_ROWS[self.z.device.type]

    @property
    def own_there(self) -> Tensor:
        """Which of the local rows are there, (L,) bool."""
        return self.there[self.start : self.stop]

    def local_tiles(self) -> list[slice]:
        """Tiles of the local rows: several on a CPU, even of a few hundred rows."""
        side = self.side
        if self.z.device.type == "cpu":
            side = min(side, max(LEAST_SIDE, math.ceil((self.stop - self.start) / 4)))
        return tiles(self.start, self.stop, side)

    def pairs(self) -> list[Job]:
        """Pairs of tiles, local rows with all columns."""
        local = self.local_tiles()
        remote = [
            *tiles(0, self.start, self.side),
            *tiles(self.stop, len(self.z), self.side),
        ]
        jobs = [Job(rows, rows, False, (number,)) for number, rows in enumerate(local)]
        for one, other in rounds(len(local)):
            jobs.append(Job(local[one], local[other], True, (one, other)))
        for columns in remote:
            jobs += [Job(rows, columns, False, (number,)) for number, rows in enumerate(local)]
        return jobs

    def single(self, start: int, stop: int) -> list[Job]:
        """Tiles of the rows from `start` to `stop`, each by itself."""
        found = tiles(start, stop, self.side)
        return [Job(rows, rows, False, (number,)) for number, rows in enumerate(found)]

    def local(self, rows: slice) -> slice:
        """A slice of local rows, counted from the first local one."""
        return slice(rows.start - self.start, rows.stop - self.start)

    def scores(self, job: Job, scratch: Tensor) -> Tensor:
        """Scores s of a pair of tiles, in `scratch`; -inf for pairs that the denominator lacks."""
        rows, columns = job.rows, job.columns
        height = rows.stop - rows.start
        width = columns.stop - columns.start
        scores = scratch[: height * width].view(height, width)
        torch.addmm(scores, self.z[rows], self.z[columns].T, beta=0, alpha=1 / self.tau, out=scores)
        if rows == columns:
            scores.fill_diagonal_(-torch.inf)
        if self.label is not None:
            left_out = self.label[rows, None] == self.label[columns]
            if self.positives_stay:
                left_out &= ~self.positives.between(rows, columns)
            scores.masked_fill_(left_out, -torch.inf)
        return scores

    def scratch(self) -> Tensor:
        """Room for the scores of a pair of tiles."""
        return self.z.new_empty(min(self.side, len(self.z)) ** 2)

    def no_scratch(self) -> Tensor:
        """No room, for work that needs none."""
        return self.z.new_empty(0)

    def log_sum_exps(self, threads: int) -> Tensor:
        """lse of the local rows over the rows of their denominators, (L,); -inf where none is."""
        shift = self.shift
        if shift is None:
            return self._log_sum_exps_by_maxima(threads)
        sums = self.z.new_zeros(self.stop - self.start)
        counted = self.there.to(self.z.dtype)
        sums_of_tile = fused(exp_sums, self.z.device)

        def add(job: Job, scratch: Tensor) -> None:
            scores = self.scores(job, scratch)
            row_sums, column_sums = sums_of_tile(
                scores, shift, counted[job.rows], counted[job.columns], job.both
            )
            sums[self.local(job.rows)] += row_sums
            if job.both:
                sums[self.local(job.columns)] += column_sums

        run_jobs(self.pairs(), add, self.scratch, threads)
        return sums.log_().add_(shift)

    def _log_sum_exps_by_maxima(self, threads: int) -> Tensor:
        """`log_sum_exps` for scores of any size."""
        lse = self.z.new_full((self.stop - self.start,), -torch.inf)
        left_out = torch.where(self.there, 0.0, -torch.inf).to(self.z.dtype)

        def add(job: Job, scratch: Tensor) -> None:
            scores = self.scores(job, scratch).add_(left_out[job.columns])
            own = self.local(job.rows)
            lse[own] = torch.logaddexp(lse[own], scores.logsumexp(dim=1))
            if job.both:
                scores.add_(left_out[job.rows, None])
                own = self.local(job.columns)
                lse[own] = torch.logaddexp(lse[own], scores.logsumexp(dim=0))

        run_jobs(self.pairs(), add, self.scratch, threads)
        return lse

    def mean_positive(self, threads: int) -> Tensor:
        """Mean score of the positives of every row, (M,); 0 where there are none."""
        counts = self.positive_counts.clamp(min=1).to(self.z.dtype)
        share = 1 / (counts * self.tau)
        positive_sums = self.positives.sums(self.z, torch.ones_like(share))
        means = torch.empty_like(share)

        def add(job: Job, _: Tensor) -> None:
            rows = job.rows
            score_sums = (self.z[rows] * positive_sums(rows)).sum(dim=1)
            means[rows] = score_sums * share[rows]

        run_jobs(self.single(0, len(self.z)), add, self.no_scratch, threads)
        return means

    def gradient(self, lse: Tensor, threads: int) -> Tensor:
        """tau times the gradient of sum_i u_i (lse_i - mean positive score of i), (L, D).

        It is the gradient with respect to the local rows; 0 for rows that are not there.
        """
        gradient = self.denominator_gradient(lse, threads)
        share = self.anchors.to(self.z.dtype) / self.positive_counts.clamp(min=1)
        as_anchor = self.positives.sums(self.z, torch.ones_like(share))
        as_positive = self.positives.sums(self.z, share)

        def subtract(job: Job, _: Tensor) -> None:
            rows = job.rows
            of_positives = as_anchor(rows).mul_(share[rows, None]).add_(as_positive(rows))
            gradient[self.local(rows)] -= of_positives

        run_jobs(self.single(self.start, self.stop), subtract, self.no_scratch, threads)
        return gradient.masked_fill_(~self.own_there[:, None], 0.0)

    def score_gradient_sum(self, gradient: Tensor) -> Tensor:
        """Sum of s dL/ds over the local rows, scalar, from their dL/dz, `gradient` (L, D).

        s is bilinear in z, so that z dL/dz counts every pair twice.
        """
        if self.start == self.stop:
            return gradient.sum()
        sums = []
        for rows in tiles(self.start, self.stop, self.side):
            sums.append((self.z[rows] * gradient[self.local(rows)]).sum() / 2)
        return torch.stack(sums).sum()

    def denominator_gradient(self, lse: Tensor, threads: int) -> Tensor:
        """tau times the gradient of sum_i u_i lse_i with respect to the local rows, (L, D)."""
        shift = self.shift
        gradient = self.z.new_zeros(self.stop - self.start, self.z.shape[1])
        weigh_tile = fused(weigh, self.z.device)
        if shift is not None:
            factor = torch.where(self.anchors, torch.exp(shift - lse), 0.0)
        else:
            no_anchors_out = torch.where(self.anchors, lse, torch.inf)

        def add(job: Job, scratch: Tensor) -> None:
            rows, columns = job.rows, job.columns
            scores = self.scores(job, scratch)
            if shift is not None:
                weigh_tile(scores, shift, factor[rows], factor[columns])
            else:
                of_rows = (scores - no_anchors_out[rows, None]).exp_()
                scores.sub_(no_anchors_out[columns]).exp_().add_(of_rows)
            gradient[self.local(rows)].addmm_(scores, self.z[columns])
            if job.both:
                gradient[self.local(columns)].addmm_(scores.T, self.z[rows])

        run_jobs(self.pairs(), add, self.scratch, threads)
        return gradient


class TiledSupcon(torch.autograd.Function):
    """The sum over tasks and valid rows in `multitask_supcon`, which divides it by |B|."""

    @staticmethod
    def forward(
        ctx: Any,
        embeddings: Tensor,
        temperature: float | Tensor,
        plan: Plan,
        valid: Tensor | None,
        all_valid: Tensor,
        tau: float,
        largest_square: float,
        group: Group | None,
    ) -> Tensor:
        """The global sum, scalar.

        embeddings (T, N, D) and valid (N,) are local, valid None where all rows are; all_valid
        (ranks, most rows of a rank) is everybody's; `tau` is the value of `temperature`, and
        `largest_square` a bound of the squares of the norms of all rows.
        """
        _, ctx.world = world_of(group)
        wide = torch.float64 if embeddings.dtype == torch.float64 else torch.float32
        most = max(plan.counts)
        own = embeddings.detach().to(wide)  # (T, N, D)
        if valid is not None:
            # Whatever a row holds that is not valid, NaN included, ends here.
            own = torch.where(valid[:, None], own, 0.0)
        z = gather_equal(padded(own, most, dim=1), group)  # (ranks, T, most, D)
        there = all_valid.bool()[:, None].expand(z.shape[:3])

        with one_thread_per_product(z.device) as threads:
            tasks = []
            own_lse = z.new_zeros(plan.task_count, most)
            for task_plan in plan.tasks:
                rows = _labelled_rows(z, there, task_plan, plan.denominator, tau, largest_square)
                lse = rows.log_sum_exps(threads)
                task_plan.put_own(own_lse[task_plan.task, : own.shape[1]], lse)
                tasks.append(rows)
            all_lse = gather_equal(own_lse, group)  # (ranks, T, most)

            total = z.new_zeros(())
            for rows, task_plan in zip(tasks, plan.tasks, strict=True):
                lse = task_plan.rows_of(all_lse)
                per_row = lse - rows.mean_positive(threads)
                total += per_row.masked_fill_(~rows.anchors, 0.0).sum()

        ctx.plan = plan
        ctx.tasks = tasks
        ctx.all_lse = all_lse
        ctx.tau = tau
        ctx.tau_shape = temperature.shape if isinstance(temperature, Tensor) else None
        ctx.shape = embeddings.shape
        ctx.dtype = embeddings.dtype
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of embeddings (T, N, D) and temperature, times the world size."""
        scale = grads[0] * ctx.world / ctx.tau
        gradient = ctx.all_lse.new_zeros(ctx.shape)
        score_gradient_sum = ctx.all_lse.new_zeros(())
        with one_thread_per_product(gradient.device) as threads:
            for rows, task_plan in zip(ctx.tasks, ctx.plan.tasks, strict=True):
                of_rows = rows.gradient(task_plan.rows_of(ctx.all_lse), threads)
                score_gradient_sum += rows.score_gradient_sum(of_rows)
                task_plan.put_own(gradient[task_plan.task], of_rows)
        of_embeddings = gradient.mul_(scale).to(ctx.dtype)
        of_tau = None
        if ctx.tau_shape is not None:
            of_tau = (-scale * score_gradient_sum / ctx.tau).reshape(ctx.tau_shape)
        return of_embeddings, of_tau, None, None, None, None, None, None


def _labelled_rows(
    z: Tensor,
    there: Tensor,
    plan: TaskPlan,
    denominator: Denominator,
    tau: float,
    largest_square: float,
) -> LabelledRows:
    """The labelled rows of a task, of z (ranks, T, most, D) and there (ranks, T, most)."""
    of_task = plan.rows_of(z)
    there_of_task = plan.rows_of(there)
    positives = PositiveSets(there_of_task, plan.group, plan.groups, plan.part, plan.parts)
    positive_counts = positives.counts()
    anchors = positive_counts > 0
    if denominator == "negatives":
        assert plan.label is not None
        anchors &= _has_other(plan.label, there_of_task)
    return LabelledRows(
        z=of_task,
        there=there_of_task,
        positives=positives,
        positive_counts=positive_counts,
        anchors=anchors,
        label=plan.label,
        positives_stay=denominator == "without_excluded",
        shift=_shift(of_task, tau, largest_square),
        start=plan.start,
        stop=plan.stop,
        tau=tau,
    )


def _has_other(label: Tensor, there: Tensor) -> Tensor:
    """Whether a row of another label is there, (M,) bool, for every row."""
    lowest = label.masked_fill(~there, torch.iinfo(label.dtype).max).min()
    highest = label.masked_fill(~there, torch.iinfo(label.dtype).min).max()
    return (lowest < label) | (highest > label)


def _shift(z: Tensor, tau: float, largest_square: float) -> Tensor | None:
    """See `LabelledRows.shift`. `largest_square` decides without a look at z whether there is one.

    NaN, and with it the loss, where norms are so much larger that the shift would not serve.
    """
    # exp(s - bound) is exp(-2 bound) at least, which must not vanish, and exp(bound - lse) is
    # exp(2 bound) at most, which must not overflow. 4 is a margin for either.
    most = (math.log(torch.finfo(z.dtype).max) - 4) / 2
    if not largest_square / tau < most:
        return None
    bound = torch.linalg.vector_norm(z, dim=1).max().square() / tau
    return torch.where(bound < most, bound, torch.nan)
