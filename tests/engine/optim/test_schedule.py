"""The learning rate over a stage."""

from __future__ import annotations

import math
import random

import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from bsou_dist.engine.optim.config import OptimConfig
from bsou_dist.engine.optim.schedule import Schedule

RATE, EPOCHS, STEPS = 0.5, 8, 10


def schedule(**settings: object) -> Schedule:
    optim = OptimConfig.model_validate({"learning_rate": RATE, "schedule": settings})
    return Schedule(optim, epochs=EPOCHS, steps=STEPS)


def test_plateau_is_that_of_torch_and_goes_on_where_it_was():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=RATE)
    reference = ReduceLROnPlateau(optimizer, patience=2, factor=0.7, eps=0.0)
    ours = schedule(patience=2, factor=0.7)
    draw = random.Random(0)
    # Steps down, and noise of the size of the threshold.
    losses = [9 - number // 12 + draw.choice([0, 1e-3, -5e-4, 0.1]) for number in range(90)]
    rates = set()
    for loss in losses:
        ours.epoch_done(loss)
        reference.step(loss)
        continued = schedule(patience=2, factor=0.7)
        continued.restore(ours.state())
        ours = continued
        rates.add(ours.rate(0))
        assert ours.rate(0) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
    assert len(rates) > 5


def test_a_loss_below_zero_that_stays_is_a_plateau():
    ours = schedule(patience=1, factor=0.5)
    for _ in range(3):
        ours.epoch_done(-2.0)
    assert ours.rate(0) == RATE / 2


def test_cosine_after_warming_up():
    ours = schedule(kind="cosine", warmup_epochs=1.5, final=0.1)
    assert [ours.rate(step) for step in (0, 4, 14, 15)] == pytest.approx(
        [RATE / 15, RATE / 3, RATE, RATE]
    )
    half_way = (15 + EPOCHS * STEPS) / 2
    assert ours.rate(half_way) == pytest.approx(RATE * (0.1 + 0.9 / 2))
    assert ours.rate(EPOCHS * STEPS) == pytest.approx(0.1 * RATE)
    quarter = 15 + (EPOCHS * STEPS - 15) / 4
    assert ours.rate(quarter) == pytest.approx(RATE * (0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2))


def test_steps_and_constant():
    ours = schedule(kind="step", at_epochs=(2, 5), factor=0.1)
    rates = [ours.rate(step) for step in (0, 19, 20, 49, 50, 79)]
    assert rates == pytest.approx([RATE, RATE, RATE / 10, RATE / 10, RATE / 100, RATE / 100])
    constant = schedule(kind="constant", warmup_epochs=1)
    assert [constant.rate(step) for step in (0, 9, 79)] == pytest.approx([RATE / 10, RATE, RATE])


def test_every_group_has_its_multiple():
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    groups = [{"params": [weights[0]], "rate": 1.0}, {"params": [weights[1]], "rate": 0.25}]
    optimizer = torch.optim.SGD(groups, lr=9.0)
    schedule(kind="constant").set_rates(optimizer, 3)
    assert [group["lr"] for group in optimizer.param_groups] == [RATE, RATE / 4]
