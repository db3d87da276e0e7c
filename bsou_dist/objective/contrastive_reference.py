"""The plain form of the contrastive loss: a matrix of all pairs per task, and autograd.

It is what the tiled form is tested and measured against. Shapes: T tasks, N rows of this rank, R
rows of all ranks, D dimensions, A anchors (rows with a positive).
"""

from __future__ import annotations

import torch
from torch import Tensor

from bsou_dist.objective.collective import Group, gather_equal, gather_rows
from bsou_dist.objective.contrastive_inputs import gather_labels
from bsou_dist.objective.contrastive_plan import Denominator
from bsou_dist.tasks.labels import MISSING_CLASS


def reference_multitask_supcon(
    embeddings: Tensor,
    labels: Tensor,
    *,
    temperature: float | Tensor,
    sweep: Tensor | None = None,
    subject: Tensor | None = None,
    valid: Tensor | None = None,
    denominator: Denominator = "all_others",
    group: Group | None = None,
) -> Tensor:
    """`contrastive.multitask_supcon`, argument for argument, for valid input."""
    own_count = torch.tensor([labels.shape[1]], device=labels.device)
    counts = gather_equal(own_count, group).flatten().tolist()
    wide = torch.float64 if embeddings.dtype == torch.float64 else torch.float32
    own_rows = embeddings.to(wide).transpose(0, 1).contiguous()  # (N, T, D)
    rows = gather_rows(own_rows, counts, group)  # (R, T, D)
    of_all = gather_labels(labels, sweep, subject, valid, counts, group)
    sweep, subject = of_all.sweep, of_all.subject
    allowed = torch.ones(len(rows), len(rows), dtype=torch.bool)
    if sweep is not None:
        allowed &= (sweep[:, None] == sweep) & (sweep >= 0)
    if subject is not None:
        allowed &= subject[:, None] != subject
    total = rows.sum() * 0.0  # keeps the graph where no anchor has a positive
    for task, label in enumerate(of_all.labels):
        total = total + _supcon_sum(
            rows[:, task],
            label.to(rows.device),
            allowed.to(rows.device),
            temperature,
            denominator,
        )
    return total / max(int(of_all.valid.sum()), 1)


def _supcon_sum(
    z: Tensor,
    label: Tensor,
    allowed: Tensor,
    temperature: float | Tensor,
    denominator: Denominator,
) -> Tensor:
    """Sum over anchors for one task.

    z (R, D), label (R,) with -1 for missing, allowed (R, R): which pairs may be positive beside
    having the same label.
    """
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    others = (label != MISSING_CLASS)[None, :] & ~itself
    same_label = label[:, None] == label
    positives = others & same_label & allowed
    if denominator == "negatives":
        others &= ~same_label
    elif denominator == "without_excluded":
        others &= ~same_label | positives
    # Rows without a positive, or with nothing to compare it with, add 0 and would be infinite.
    anchors = positives.any(dim=1) & others.any(dim=1)
    positives = positives[anchors]  # (A, R)
    others = others[anchors]  # (A, R)
    scores = z[anchors] @ z.T / temperature  # (A, R)
    log_denominator = scores.masked_fill(~others, -torch.inf).logsumexp(dim=1)
    positive_sum = torch.where(positives, scores, 0.0).sum(dim=1)
    mean_positive = positive_sum / positives.sum(dim=1)
    return (log_denominator - mean_positive).sum()
