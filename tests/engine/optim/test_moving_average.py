"""Moving averages of weights."""

from __future__ import annotations

import torch
from torch import nn

from bsou_dist.engine.optim.moving_average import MovingAverage

STEPS, DECAY = 30, 0.7


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def test_it_is_the_sum_it_stands_for_and_goes_on_where_it_was():
    net = network()
    average = MovingAverage(net, DECAY)
    expected = net.weight.detach().double().clone()
    for done in range(1, STEPS + 1):
        with torch.no_grad():
            net.weight.add_(torch.randn_like(net.weight))
        average.update(done)
        decay = min(DECAY, (1 + done) / (10 + done))
        expected = decay * expected + (1 - decay) * net.weight.detach().double()
        continued = MovingAverage(net, DECAY)
        continued.restore(average.state())
        average = continued
    torch.testing.assert_close(average.state()["weight"].double(), expected, rtol=1e-6, atol=1e-6)


def test_the_network_computes_with_it_for_a_while():
    net = network()
    average = MovingAverage(net, DECAY)
    before = net.weight.detach().clone()
    with torch.no_grad():
        net.weight.add_(1)
    after = net.weight.detach().clone()
    with average.in_place():
        assert torch.equal(net.weight, before)
    assert torch.equal(net.weight, after)
