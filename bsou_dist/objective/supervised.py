"""Supervised losses over the global batch: cross-entropy ([P1] eq. 1) and the heteroscedastic
Gaussian.

All are a global numerator over a global denominator, summed over ranks before the division, so that
a rank with few or no labels weighs what its labels weigh.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from bsou_dist.model.heads.regression import LOG_VARIANCE_BOUND
from bsou_dist.objective.collective import Group, global_sum
from bsou_dist.tasks.labels import MISSING_CLASS

TaskWeighting = Literal["pairs", "tasks"]
"""What weighs the same in a loss over tasks whose labels are missing here and there."""


def multitask_cross_entropy(
    logits: Sequence[Tensor],
    labels: Tensor,
    *,
    valid: Tensor,
    equal: TaskWeighting = "pairs",
    group: Group | None = None,
) -> Tensor:
    """Mean cross-entropy over the labelled (clip, task) pairs of the global batch.

    [P1] eq. 1: MTCE, and STSL with T = 1. With equal `tasks` it is the mean over the tasks that
    have a label in the batch, of each the mean over its labelled clips: a task with few labels
    weighs as much as one with many. Where no label is missing the two are one.

    Args:
        logits: T tensors (N, classes of the task).
        labels: (T, N) int64, -1 where missing.
        valid: (N,) bool, False for padding.
        equal: what weighs the same.
    """
    labels = torch.where(valid, labels, MISSING_CLASS)
    totals = torch.stack(
        [
            F.cross_entropy(scores.float(), label, ignore_index=MISSING_CLASS, reduction="sum")
            for scores, label in zip(logits, labels, strict=True)
        ]
    )
    counts = (labels != MISSING_CLASS).sum(dim=1)
    if equal == "pairs":
        return _mean(totals.sum(), counts.sum(), group)
    means = _mean(totals, counts, group)
    labelled_tasks = (global_sum(counts.to(totals.dtype), group) > 0).sum()
    return means.sum() / labelled_tasks.clamp(min=1)


def weighted_cross_entropy(
    logits: Tensor,
    label: Tensor,
    *,
    class_weights: Tensor,
    valid: Tensor,
    group: Group | None = None,
) -> Tensor:
    """Cross-entropy weighted by class, over the global sum of the labelled rows' weights.

    Args:
        logits: (N, K).
        label: (N,) int64, -1 where missing.
        class_weights: (K,), see `inverse_frequency_weights`.
        valid: (N,) bool.
    """
    label = torch.where(valid, label, MISSING_CLASS)
    total = F.cross_entropy(
        logits.float(), label, weight=class_weights, ignore_index=MISSING_CLASS, reduction="sum"
    )
    labelled = label != MISSING_CLASS
    weights = torch.where(labelled, class_weights[label.clamp(min=0)], 0.0)
    return _mean(total, weights.sum(), group)


def heteroscedastic_gaussian(
    mean: Tensor, log_variance: Tensor, target: Tensor, *, valid: Tensor, group: Group | None = None
) -> Tensor:
    """Mean of (log s2 + (y - mu)^2 / s2) / 2 over the labelled rows of the global batch.

    Kendall and Gal, 2017, What Uncertainties Do We Need in Bayesian Deep Learning for Computer
    Vision, eq. 5. What is masked is masked before the exponential: there, an unlabelled row's
    infinity would become a NaN in the backward pass. A log variance counts as within
    `LOG_VARIANCE_BOUND`, where the head keeps its own.

    Args:
        mean, log_variance: (N,), in standardised units.
        target: (N,), standardised on the training split, NaN where missing.
        valid: (N,) bool.
    """
    labelled = valid & ~target.isnan()
    error = torch.where(labelled, target - mean.float(), 0.0)
    log_variance = torch.where(labelled, log_variance.float(), 0.0)
    log_variance = log_variance.clamp(-LOG_VARIANCE_BOUND, LOG_VARIANCE_BOUND)
    each = 0.5 * (log_variance + error.square() * torch.exp(-log_variance))
    return _mean(each.sum(), labelled.sum(), group)


def inverse_frequency_weights(labels: Tensor, classes: int) -> Tensor:
    """Weights (K,) proportional to 1 / frequency on the training split.

    Their mean over the classes that occur is 1. A class that never occurs gets 0: it has no row to
    weigh.
    """
    counts = torch.bincount(labels[labels != MISSING_CLASS], minlength=classes).float()
    weights = torch.where(counts > 0, counts.sum() / counts.clamp(min=1), 0.0)
    return weights / weights.sum().clamp(min=1e-12) * (counts > 0).sum()


def _mean(local_sum: Tensor, local_count: Tensor, group: Group | None) -> Tensor:
    """Global sum over global count; 0 with zero gradients where nothing is labelled on any rank."""
    count = global_sum(local_count.detach().to(local_sum.dtype), group)
    return global_sum(local_sum, group) / torch.where(count > 0, count, 1.0)
