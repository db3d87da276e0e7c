"""Supervised contrastive loss over all tasks and all ranks ([P1] equations 2 and 3).

This is the plain form: it holds one N x N matrix per task and is the reference for any faster one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bsou_dist.objective.collective import Group, exchange_sizes, gather_rows, world_of
from bsou_dist.tasks import MISSING_CLASS

NO_SWEEP = -1  # a missing sweep tag matches nothing, not even another missing one


def multitask_supcon(
    embeddings: Tensor,
    labels: Tensor,
    *,
    temperature: float | Tensor,
    sweep: Tensor | None = None,
    subject: Tensor | None = None,
    valid: Tensor | None = None,
    group: Group | None = None,
) -> Tensor:
    """Multi-head supervised contrastive loss of [P1] eq. 2 over the global batch B of all ranks (the 'out' form).

    L = 1/|B| sum_i sum_t -1/|P_t(i)| sum_{p in P_t(i)} [z_i.z_p / tau - log sum_{a in A_t(i)} exp(z_i.z_a / tau)]

    A_t(i) holds every other clip with a label for task t; P_t(i) those of A_t(i) with the label of i. An anchor with an
    empty P_t(i) or without a label adds 0; |B| counts every valid row. Without any positive the loss is exactly 0.

    Args:
        embeddings: (T, N, D), unit norm, this rank's rows; N may differ between ranks and may be 0.
        labels: (T, N) int64, -1 where missing.
        temperature: tau > 0; a scalar tensor may require a gradient.
        sweep: (N,) int64; if given, a positive must have the same sweep as well, and -1 matches nothing.
        subject: (N,) int64; if given, a positive must come from another patient.
        valid: (N,) bool; rows that are padding are False and enter neither positives, denominators nor |B|.
        group: None means the default group if one is initialised, else this process alone.

    Returns:
        Scalar: the global loss, equal on all ranks. Backward gives the world size times the one-process gradient of the
        local rows, so that the mean over ranks is the one-process gradient.

    Raises:
        ValueError: on every rank, if any rank's shapes, types or temperature do not fit, or ranks disagree.
    """
    counts = _agree(embeddings, labels, temperature, sweep, subject, valid, group)
    if valid is None:
        valid = labels.new_ones(labels.shape[1:], dtype=torch.bool)
    wide = embeddings.dtype if embeddings.dtype == torch.float64 else torch.float32
    rows = gather_rows(embeddings.to(wide).transpose(0, 1).contiguous(), counts, group)  # (N, T, D), all ranks'
    all_labels = gather_rows(labels.T.contiguous(), counts, group)  # (N, T)
    all_valid = gather_rows(valid, counts, group)
    rows = torch.where(all_valid[:, None, None], rows, 0.0)  # whatever padding holds
    allowed = torch.ones(len(rows), len(rows), dtype=torch.bool, device=rows.device)
    if sweep is not None:
        all_sweeps = gather_rows(sweep, counts, group)
        allowed &= (all_sweeps[:, None] == all_sweeps) & (all_sweeps != NO_SWEEP)
    if subject is not None:
        all_subjects = gather_rows(subject, counts, group)
        allowed &= all_subjects[:, None] != all_subjects
    total = rows.sum() * 0.0  # keeps the graph, and any NaN of a valid row, where no anchor has a positive
    for task in range(rows.shape[1]):
        label = torch.where(all_valid, all_labels[:, task], MISSING_CLASS)
        total = total + _supcon_sum(rows[:, task], label, allowed, temperature)
    return total / all_valid.sum().clamp(min=1)


def ucon(
    embeddings: Tensor,
    clip: Tensor,
    *,
    temperature: float | Tensor,
    valid: Tensor | None = None,
    group: Group | None = None,
) -> Tensor:
    """NT-Xent of [P1] eq. 3 over the global batch: the one positive of a row is the other view of its clip.

    Args:
        embeddings: (N, D), unit norm; two rows per clip.
        clip: (N,) int64, >= 0, equal for the two views of a clip and for nothing else in the global batch.
        temperature, valid, group: as in `multitask_supcon`.
    """
    return multitask_supcon(embeddings[None], clip[None], temperature=temperature, valid=valid, group=group)


def _supcon_sum(z: Tensor, label: Tensor, allowed: Tensor, temperature: float | Tensor) -> Tensor:
    """Sum over anchors for one task. z (N, D), label (N,) with -1 for missing, allowed (N, N) extra condition."""
    others = (label != MISSING_CLASS)[None, :] & ~torch.eye(len(z), dtype=torch.bool, device=z.device)
    positives = others & (label[:, None] == label) & allowed
    anchors = positives.any(dim=1)  # the others add 0, and a row without candidates would be NaN
    positives, others = positives[anchors], others[anchors]
    scores = z[anchors] @ z.T / temperature
    log_denominator = scores.masked_fill(~others, -torch.inf).logsumexp(dim=1)
    mean_positive = torch.where(positives, scores, 0.0).sum(dim=1) / positives.sum(dim=1)
    return (log_denominator - mean_positive).sum()


def _agree(
    embeddings: Tensor,
    labels: Tensor,
    temperature: float | Tensor,
    sweep: Tensor | None,
    subject: Tensor | None,
    valid: Tensor | None,
    group: Group | None,
) -> list[int]:
    """Rows of every rank; ValueError on all ranks, never a hang, if one rank's input is bad or ranks disagree."""
    problem = _problem(embeddings, labels, temperature, sweep, subject, valid)
    shape = (*embeddings.shape, 0, 0, 0)[:3]
    facts = [int(problem is not None), *shape, int(sweep is not None), int(subject is not None)]
    ranks = exchange_sizes(facts, group, embeddings.device)
    if problem:
        raise ValueError(problem)
    bad = [rank for rank, fact in enumerate(ranks) if fact[0]]
    if bad:
        raise ValueError(f"the contrastive loss was given bad input on rank {bad[0]}; its own message tells what")
    if len({(fact[1], *fact[3:]) for fact in ranks}) > 1:
        shapes = [tuple(fact[1:4]) for fact in ranks]
        raise ValueError(f"ranks must agree on T and D of embeddings (T, N, D) and on sweep and subject; got {shapes}")
    assert len(ranks) == world_of(group)[1]
    return [fact[2] for fact in ranks]


def _problem(
    embeddings: Tensor,
    labels: Tensor,
    temperature: float | Tensor,
    sweep: Tensor | None,
    subject: Tensor | None,
    valid: Tensor | None,
) -> str | None:
    if embeddings.ndim != 3 or not embeddings.is_floating_point():
        return f"embeddings must be floating (T, N, D), got {embeddings.dtype} {tuple(embeddings.shape)}"
    if labels.shape != embeddings.shape[:2] or labels.dtype != torch.int64:
        return f"labels must be int64 {tuple(embeddings.shape[:2])}, got {labels.dtype} {tuple(labels.shape)}"
    rows = embeddings.shape[1]
    for name, tensor, dtype in (("sweep", sweep, torch.int64), ("subject", subject, torch.int64),
                                ("valid", valid, torch.bool)):
        if tensor is not None and (tensor.shape != (rows,) or tensor.dtype != dtype):
            return f"{name} must be {dtype} ({rows},), got {tensor.dtype} {tuple(tensor.shape)}"
    if isinstance(temperature, Tensor) and temperature.numel() != 1:
        return f"temperature must be one number, got shape {tuple(temperature.shape)}"
    tau = temperature.detach().item() if isinstance(temperature, Tensor) else temperature
    if not tau > 0:
        return f"temperature must be > 0, got {tau}"
    return None
