"""Supervised losses against plain formulas, and over real processes against one process."""

from __future__ import annotations

import math

import pytest
import torch
from gloo import run_ranks
from torch import Tensor
from torch.nn import functional as F

from bsou_dist.model.heads.regression import LOG_VARIANCE_BOUND as BOUND
from bsou_dist.objective.supervised import (
    heteroscedastic_gaussian,
    inverse_frequency_weights,
    multitask_cross_entropy,
    weighted_cross_entropy,
)

ROWS = 11


def data() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    target = torch.randn(ROWS, generator=generator, dtype=torch.float32)
    target[2] = torch.nan
    return {
        "a": torch.randn(ROWS, 3, generator=generator),
        "b": torch.randn(ROWS, 2, generator=generator),
        "labels": torch.stack(
            [
                torch.randint(-1, 3, (ROWS,), generator=generator),
                torch.randint(-1, 2, (ROWS,), generator=generator),
            ]
        ),
        "target": target,
        "valid": torch.arange(ROWS) != 4,
        "weights": torch.tensor([0.5, 1.0, 1.5]),
    }


def losses(d: dict[str, Tensor], rows: slice) -> list[tuple[Tensor, Tensor]]:
    """(loss, gradient of its input) of the three losses on some rows."""
    a, b = (d[name][rows].clone().requires_grad_() for name in "ab")
    labels, valid, target = d["labels"][:, rows], d["valid"][rows], d["target"][rows]
    out = []
    for loss, inputs in (
        (multitask_cross_entropy([a, b], labels, valid=valid), (a, b)),
        (multitask_cross_entropy([a, b], labels, valid=valid, equal="tasks"), (a, b)),
        (weighted_cross_entropy(a, labels[0], class_weights=d["weights"], valid=valid), (a,)),
        (heteroscedastic_gaussian(a[:, 0], a[:, 1], target, valid=valid), (a,)),
    ):
        grads = torch.autograd.grad(loss, inputs)
        out.append((loss.detach(), torch.cat([grad.flatten(1) for grad in grads], dim=1)))
    return out


def test_a_task_without_labels_is_none_of_those_that_weigh_the_same():
    d = data()
    labels = torch.stack([d["labels"][0], torch.full((ROWS,), -1)])
    found = multitask_cross_entropy([d["a"], d["b"]], labels, valid=d["valid"], equal="tasks")
    alone = multitask_cross_entropy([d["a"]], labels[:1], valid=d["valid"])
    torch.testing.assert_close(found, alone)
    nothing = multitask_cross_entropy(
        [d["a"], d["b"]], torch.full_like(labels, -1), valid=d["valid"], equal="tasks"
    )
    assert nothing == 0.0


def test_equal_plain_formulas():
    d = data()
    mtce, mtce_of_tasks, weighted, gaussian = (loss for loss, _ in losses(d, slice(None)))
    pairs = [
        F.cross_entropy(d[name][i], d["labels"][t, i])
        for t, name in enumerate("ab")
        for i in range(ROWS)
        if d["valid"][i] and d["labels"][t, i] >= 0
    ]
    torch.testing.assert_close(mtce, torch.stack(pairs).mean())
    means = []
    for t, name in enumerate("ab"):
        rows = [i for i in range(ROWS) if d["valid"][i] and d["labels"][t, i] >= 0]
        means.append(F.cross_entropy(d[name][rows], d["labels"][t, rows]))
    torch.testing.assert_close(mtce_of_tasks, torch.stack(means).mean())
    assert abs(mtce_of_tasks - mtce) > 1e-4
    rows = [i for i in range(ROWS) if d["valid"][i] and d["labels"][0, i] >= 0]
    expected = F.cross_entropy(d["a"][rows], d["labels"][0, rows], weight=d["weights"])
    torch.testing.assert_close(weighted, expected)
    rows = [i for i in range(ROWS) if d["valid"][i] and i != 2]
    normal = torch.distributions.Normal(d["a"][rows, 0], (d["a"][rows, 1] / 2).exp())
    constant = 0.5 * torch.log(torch.tensor(2 * torch.pi))
    torch.testing.assert_close(gaussian, (-normal.log_prob(d["target"][rows]) - constant).mean())


def test_nothing_labelled_gives_zero_not_nan():
    d = data()
    d["valid"][:] = False
    for loss, grad in losses(d, slice(None)):
        assert loss.item() == 0.0
        assert torch.equal(grad, torch.zeros_like(grad))


def test_what_is_masked_leaves_no_trace_and_a_wild_variance_a_finite_gradient():
    mean = torch.zeros(4, requires_grad=True)
    wild = torch.tensor([-200.0, 200.0, -torch.inf, -200.0], requires_grad=True)
    target = torch.tensor([3.0, 3.0, 1.0, torch.nan])
    valid = torch.tensor([True, True, False, True])
    loss = heteroscedastic_gaussian(mean, wild, target, valid=valid)
    loss.backward()
    at_bound = torch.tensor([9 * math.exp(BOUND) - BOUND, 9 * math.exp(-BOUND) + BOUND])
    torch.testing.assert_close(loss.detach(), at_bound.mean() / 2)
    expected = -3 * torch.tensor([math.exp(BOUND), math.exp(-BOUND), 0.0, 0.0]) / 2
    torch.testing.assert_close(mean.grad, expected)
    assert wild.grad.isfinite().all()


def test_inverse_frequency_weights():
    weights = inverse_frequency_weights(torch.tensor([0, 0, 0, 1, -1]), classes=3)
    torch.testing.assert_close(weights, torch.tensor([0.5, 1.5, 0.0]))


def _on_rank(rank: int, world: int, counts: tuple[int, ...]) -> list[tuple[Tensor, Tensor]]:
    start = sum(counts[:rank])
    return losses(data(), slice(start, start + counts[rank]))


@pytest.mark.parametrize("counts", [(4, 7), (11, 0)])
def test_processes_equal_one_process(counts):
    world = len(counts)
    ranks = run_ranks(world, _on_rank, counts)
    for number, (loss, grad) in enumerate(losses(data(), slice(None))):
        for rank in range(world):
            torch.testing.assert_close(ranks[rank][number][0], loss)
        torch.testing.assert_close(
            torch.cat([ranks[rank][number][1] for rank in range(world)]) / world, grad
        )
