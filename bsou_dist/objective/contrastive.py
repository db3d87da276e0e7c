"""Supervised contrastive loss over all tasks and all ranks: equations 2 and 3 of [P1].

[P1] is the paper *Improved Representation Learning with Multitasking in Blind Sweep Obstetric
Ultrasound Videos*. Shapes: T tasks, N rows of this rank, D dimensions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bsou_dist.objective.collective import Group, gather_equal, padded, world_of
from bsou_dist.objective.contrastive_inputs import agree, gather_labels
from bsou_dist.objective.contrastive_plan import Denominator, Plan, make_plan
from bsou_dist.objective.contrastive_tiled import TiledSupcon


def multitask_supcon(
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
    """Multi-head supervised contrastive loss over the global batch B of all ranks.

    Equation 2 of [P1] (the 'out' form):

        L = 1/|B| sum_i sum_t -1/|P_t(i)| sum_{p in P_t(i)}
            [z_i.z_p / tau - log sum_{a in A_t(i)} exp(z_i.z_a / tau)]

    A_t(i) holds every other clip with a label for task t; P_t(i) those of A_t(i) with the label of
    i. An anchor with an empty P_t(i) or A_t(i), or without a label, adds 0; |B| counts every valid
    row. Without any positive the loss is exactly 0.

    Args:
        embeddings: (T, N, D), unit norm, this rank's rows; N may differ between ranks and may be 0.
        labels: (T, N) int64, -1 where missing.
        temperature: tau > 0; a scalar tensor may require a gradient.
        sweep: (N,) int64; if given, a positive must have the same sweep as well, and -1 matches
            nothing.
        subject: (N,) int64; if given, a positive must come from another patient.
        valid: (N,) bool; rows that are padding are False and enter neither positives, denominators
            nor |B|.
        denominator: what A_t(i) holds in the sum over a: `all_others`; `without_excluded`, the same
            but for clips with the label of i that sweep or subject keep from being its positives;
            or `negatives`, clips with another label only.
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
    agreed = agree(embeddings, labels, temperature, sweep, subject, valid, group)
    of_all = gather_labels(labels, sweep, subject, valid, agreed.counts, group)
    plan = make_plan(
        of_all.labels.numpy(),
        agreed.counts,
        world_of(group)[0],
        sweep=None if of_all.sweep is None else of_all.sweep.numpy(),
        subject=None if of_all.subject is None else of_all.subject.numpy(),
        denominator=denominator,
    )
    return _planned(
        embeddings,
        plan.to(embeddings.device),
        temperature,
        valid,
        tau=agreed.temperature,
        largest_square=agreed.largest_square,
        group=group,
    )


def planned_supcon(
    embeddings: Tensor,
    plan: Plan,
    *,
    temperature: float,
    valid: Tensor,
    group: Group | None = None,
) -> Tensor:
    """`multitask_supcon` where all ranks know all labels: nothing is asked, no device waited for.

    Args:
        embeddings: (T, N, D), unit norm, this rank's rows.
        plan: of the global batch, on the device of the embeddings.
        temperature: tau > 0, the same on all ranks.
        valid: (N,) bool; False for rows that are not there, though the plan may hold labels of
            them.
        group: as in `multitask_supcon`.

    Raises:
        ValueError: on this rank, if its shapes do not fit the plan. Ranks that run the same
            network on the same plan raise together.
    """
    expected = (plan.task_count, plan.counts[plan.rank])
    if embeddings.shape[:2] != expected or valid.shape != expected[1:]:
        raise ValueError(
            f"embeddings must be (T, N, D) and valid (N,) with T, N = {expected}; got "
            f"{tuple(embeddings.shape)} and {tuple(valid.shape)}"
        )
    if not temperature > 0:
        raise ValueError(f"temperature must be > 0, got {temperature}")
    return _planned(
        embeddings, plan, temperature, valid, tau=temperature, largest_square=1.0, group=group
    )


def _planned(
    embeddings: Tensor,
    plan: Plan,
    temperature: float | Tensor,
    valid: Tensor | None,
    *,
    tau: float,
    largest_square: float,
    group: Group | None,
) -> Tensor:
    """The loss by a plan; `temperature` is what is differentiated, `tau` its value.

    `largest_square` bounds the squares of the norms of all valid rows of all ranks.
    """
    counted = embeddings.new_ones(embeddings.shape[1], dtype=torch.uint8)
    if valid is not None:
        counted = valid.to(torch.uint8)
    all_valid = gather_equal(padded(counted, max(plan.counts)), group)  # (ranks, most)
    total = TiledSupcon.apply(
        embeddings, temperature, plan, valid, all_valid, tau, largest_square, group
    )
    return total / all_valid.sum().clamp(min=1)


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
