"""The loss by a plan that every rank makes of labels it knows: no rank asks another, none waits."""

from __future__ import annotations

from itertools import product
from typing import get_args

import numpy as np
import pytest
import torch
from gloo import run_ranks
from torch import Tensor
from torch.nn import functional as F

from bsou_dist.objective import contrastive_tiled as tiled
from bsou_dist.objective.contrastive import planned_supcon
from bsou_dist.objective.contrastive_plan import Denominator, Plan, make_plan
from bsou_dist.objective.contrastive_reference import reference_multitask_supcon

ROWS, TASKS, DIM = 17, 3, 8
CUTS = {1: [(17,)], 3: [(5, 12, 0), (6, 6, 5)]}
TEMPERATURES = (0.1, 0.002)
"""The second one needs row maxima."""
EXTRAS: list[tuple[str, ...]] = [(), ("sweep",), ("subject",), ("sweep", "subject")]
DENOMINATORS: tuple[Denominator, ...] = get_args(Denominator)


def case() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(TASKS, ROWS, DIM, generator=generator, dtype=torch.float64)
    return {
        "z": F.normalize(z, dim=-1),
        "labels": torch.randint(-1, 3, (TASKS, ROWS), generator=generator),
        "sweep": torch.randint(-1, 3, (ROWS,), generator=generator),
        "subject": torch.randint(0, 5, (ROWS,), generator=generator),
        "valid": torch.rand(ROWS, generator=generator) > 0.3,
    }


def plan_of(
    data: dict[str, Tensor],
    extra: tuple[str, ...],
    counts: list[int],
    rank: int,
    denominator: Denominator,
) -> Plan:
    """The plan holds labels of rows that will turn out not to be there."""
    options = {name: data[name].numpy() for name in extra}
    return make_plan(data["labels"].numpy(), counts, rank, **options, denominator=denominator)


def _on_rank(rank: int, world: int) -> list[tuple[float, Tensor]]:
    tiled.TILE_ROWS["cpu"] = 3
    data = case()
    out = []
    for counts in CUTS[world]:
        start = sum(counts[:rank])
        mine = slice(start, start + counts[rank])
        for temperature in TEMPERATURES:
            for extra, denominator in product(EXTRAS, DENOMINATORS):
                # What stands in a row that is not there must not matter.
                z = torch.where(data["valid"][:, None], data["z"], torch.nan)[:, mine]
                z.requires_grad_()
                plan = plan_of(data, extra, list(counts), rank, denominator)
                loss = planned_supcon(z, plan, temperature=temperature, valid=data["valid"][mine])
                loss.backward()
                out.append((loss.item(), z.grad))
    return out


@pytest.mark.parametrize("world", list(CUTS))
def test_values_and_gradients_are_those_of_the_plain_form_of_the_rows_that_are_there(world):
    results = run_ranks(world, _on_rank) if world > 1 else [_on_rank(0, 1)]
    data = case()
    number = 0
    for _counts in CUTS[world]:
        for temperature in TEMPERATURES:
            for extra, denominator in product(EXTRAS, DENOMINATORS):
                z = data["z"].clone().requires_grad_()
                options = {name: data[name] for name in (*extra, "valid")}
                loss = reference_multitask_supcon(
                    z,
                    data["labels"],
                    temperature=temperature,
                    **options,
                    denominator=denominator,
                )
                loss.backward()
                losses, gradients = zip(*(result[number] for result in results), strict=True)
                assert all(abs(of_rank - loss.item()) < 1e-11 for of_rank in losses)
                gathered = torch.cat(gradients, dim=1) / world
                assert (gathered - z.grad).norm() <= 1e-10 * z.grad.norm()
                number += 1


def test_rows_that_are_longer_than_told_give_nan_not_a_wrong_loss():
    data = case()
    plan = plan_of(data, (), [ROWS], 0, "all_others")
    valid = torch.ones(ROWS, dtype=torch.bool)
    loss = planned_supcon(100 * data["z"].float(), plan, temperature=0.1, valid=valid)
    assert loss.isnan()


def test_rows_that_do_not_fit_the_plan_are_refused():
    plan = make_plan(np.zeros((2, 4), dtype=np.int64), [3, 1], 0)
    valid = torch.ones(4, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"T, N = \(2, 3\); got \(2, 4, 8\)"):
        planned_supcon(torch.zeros(2, 4, 8), plan, temperature=0.1, valid=valid)
    with pytest.raises(ValueError, match="temperature must be > 0"):
        planned_supcon(torch.zeros(2, 3, 8), plan, temperature=0.0, valid=valid[:3])


def test_a_task_without_positives_is_not_planned():
    labels = np.array([[0, 1, 2, -1], [0, 0, 1, 1]])
    assert [task.task for task in make_plan(labels, [4], 0).tasks] == [1]
    subject = np.array([5, 5, 6, 6])  # the positives of task 1 are of the same patients
    assert not make_plan(labels, [4], 0, subject=subject).tasks
    assert not make_plan(labels, [4], 0, sweep=np.array([0, 1, -1, -1])).tasks
