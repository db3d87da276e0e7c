"""Supervised contrastive loss over all tasks and all ranks: equations 2 and 3 of [P1].

[P1] is the paper *Improved Representation Learning with Multitasking in Blind Sweep Obstetric
Ultrasound Videos*. Shapes: T tasks, N rows of this rank, D dimensions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bsou_dist.objective.collective import Group
from bsou_dist.objective.contrastive_inputs import agree, gather_labels
from bsou_dist.objective.contrastive_tiled import TiledSupcon


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
    """Multi-head supervised contrastive loss over the global batch B of all ranks.

    Equation 2 of [P1] (the 'out' form):

        L = 1/|B| sum_i sum_t -1/|P_t(i)| sum_{p in P_t(i)}
            [z_i.z_p / tau - log sum_{a in A_t(i)} exp(z_i.z_a / tau)]

    A_t(i) holds every other clip with a label for task t; P_t(i) those of A_t(i) with the label of
    i. An anchor with an empty P_t(i) or without a label adds 0; |B| counts every valid row. Without
    any positive the loss is exactly 0.

    Args:
        embeddings: (T, N, D), unit norm, this rank's rows; N may differ between ranks and may be 0.
        labels: (T, N) int64, -1 where missing.
        temperature: tau > 0; a scalar tensor may require a gradient.
        sweep: (N,) int64; if given, a positive must have the same sweep as well, and -1 matches
            nothing.
        subject: (N,) int64; if given, a positive must come from another patient.
        valid: (N,) bool; rows that are padding are False and enter neither positives, denominators
            nor |B|.
        group: None means the default group if one is initialised, else this process alone.

    Returns:
        Scalar: the global loss, equal on all ranks. Backward gives the world size times the
        one-process gradient of the local rows, so that the mean over ranks is the one-process
        gradient.

    No matrix of all pairs is made: see `contrastive_tiled.py`. `contrastive_reference.py` is the
    form that this one is tested against.

    Raises:
        ValueError: on every rank, if any rank's shapes, types or temperature do not fit, or ranks
            disagree.
    """
    wide = torch.float64 if embeddings.dtype == torch.float64 else torch.float32
    tau = torch.as_tensor(temperature, dtype=wide, device=embeddings.device)
    counts = agree(embeddings, labels, tau, sweep, subject, valid, group)
    labels, sweep, subject, valid_rows = gather_labels(labels, sweep, subject, valid, counts, group)
    total = TiledSupcon.apply(embeddings, tau, labels, sweep, subject, counts, group)
    return total / max(valid_rows, 1)


def ucon(
    embeddings: Tensor,
    clip: Tensor,
    *,
    temperature: float | Tensor,
    valid: Tensor | None = None,
    group: Group | None = None,
) -> Tensor:
    """NT-Xent over the global batch: equation 3 of [P1].

    The one positive of a row is the other view of its clip.

    Args:
        embeddings: (N, D), unit norm; two rows per clip.
        clip: (N,) int64, >= 0, equal for the two views of a clip and for nothing else in the global
            batch.
        temperature, valid, group: as in `multitask_supcon`.

    Returns:
        Scalar: as `multitask_supcon`.
    """
    return multitask_supcon(
        embeddings[None], clip[None], temperature=temperature, valid=valid, group=group
    )
