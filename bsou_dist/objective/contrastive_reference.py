"""The plain form of the contrastive loss: one N x N matrix per task, autograd, nothing clever.

It is what the tiled form is tested and measured against.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bsou_dist.objective.collective import Group, exchange_sizes, gather_rows
from bsou_dist.objective.contrastive_inputs import gather_labels
from bsou_dist.tasks.labels import MISSING_CLASS


def reference_multitask_supcon(
    embeddings: Tensor,
    labels: Tensor,
    *,
    temperature: float | Tensor,
    sweep: Tensor | None = None,
    subject: Tensor | None = None,
    valid: Tensor | None = None,
    group: Group | None = None,
) -> Tensor:
    """`contrastive.multitask_supcon`, argument for argument, for valid input."""
    counts = [one[0] for one in exchange_sizes([labels.shape[1]], group, labels.device)]
    wide = embeddings.dtype if embeddings.dtype == torch.float64 else torch.float32
    rows = gather_rows(
        embeddings.to(wide).transpose(0, 1).contiguous(), counts, group
    )  # (N, T, D), all ranks'
    all_labels, sweep, subject, valid_rows = gather_labels(
        labels, sweep, subject, valid, counts, group
    )
    allowed = torch.ones(len(rows), len(rows), dtype=torch.bool, device=rows.device)
    if sweep is not None:
        allowed &= (sweep[:, None] == sweep) & (sweep >= 0)
    if subject is not None:
        allowed &= subject[:, None] != subject
    total = rows.sum() * 0.0  # keeps the graph where no anchor has a positive
    for task, label in enumerate(all_labels):
        total = total + _supcon_sum(rows[:, task], label, allowed, temperature)
    return total / max(valid_rows, 1)


def _supcon_sum(z: Tensor, label: Tensor, allowed: Tensor, temperature: float | Tensor) -> Tensor:
    """Sum over anchors for one task. z (N, D), label (N,) with -1 for missing, allowed (N, N) extra
    condition.
    """
    others = (label != MISSING_CLASS)[None, :] & ~torch.eye(
        len(z), dtype=torch.bool, device=z.device
    )
    positives = others & (label[:, None] == label) & allowed
    anchors = positives.any(dim=1)  # the others add 0, and a row without candidates would be NaN
    positives, others = positives[anchors], others[anchors]
    scores = z[anchors] @ z.T / temperature
    log_denominator = scores.masked_fill(~others, -torch.inf).logsumexp(dim=1)
    mean_positive = torch.where(positives, scores, 0.0).sum(dim=1) / positives.sum(dim=1)
    return (log_denominator - mean_positive).sum()
