"""Engines over real processes: equal to one process with plain Adam; state moves between them."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest
import torch
from gloo import run_ranks
from torch import Tensor, nn

from bsou_dist.common.errors import InputError
from bsou_dist.engine.ddp_engine import DdpEngine
from bsou_dist.engine.deepspeed_engine import DeepSpeedEngine
from bsou_dist.engine.make import EngineConfig, make_engine
from bsou_dist.engine.optim.config import OptimConfig
from bsou_dist.engine.processes import Processes
from bsou_dist.objective.collective import global_sum

ROWS, STEPS, MAX_NORM = 7, 4, 1.6
ENGINES = [("ddp", 0), ("deepspeed", 0), ("deepspeed", 1), ("deepspeed", 2), ("deepspeed", 3)]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))


def rows(step: int) -> Tensor:
    return torch.randn(ROWS, 5, generator=torch.Generator().manual_seed(step))


def plain_adam() -> tuple[dict[str, Tensor], list[float]]:
    """Weights, and the norm of every step's gradient, by torch alone."""
    net = network()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    norms = []
    for step in range(STEPS):
        optimizer.zero_grad()
        (net(rows(step)).square().sum() / ROWS).backward()
        norms.append(nn.utils.clip_grad_norm_(net.parameters(), MAX_NORM).item())
        optimizer.step()
    return net.state_dict(), norms


class Trained(NamedTuple):
    """What came of an engine; weights and moments are copies."""

    weights: dict[str, Tensor]
    moments: dict[str, dict[str, Tensor]]
    norms: list[float]
    bad_norm: float


def _bfloat16(rank: int, world: int) -> dict[int, Tensor]:
    """Gradients of one step whose forward pass is in bfloat16, by ZeRO stage; of DDP as -1.

    The engines are made by hand: on CPU, bfloat16 is refused for the sake of convolutions.
    """
    gradients = {}
    for stage in (-1, 0, 1, 2, 3):
        net = network()
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        if stage < 0:
            engine = DdpEngine(net, optimizer, "bfloat16", Processes(rank, world, "cpu"))
        else:
            engine = DeepSpeedEngine(net, optimizer, "bfloat16", stage)
        engine.backward(engine(rows(rank)).float().square().mean())
        engine.step()
        first = [moments["exp_avg"].flatten() for moments in engine.moments().values()]
        gradients[stage] = torch.cat(first) / (1 - 0.9)
        engine.close()
    return gradients


def _on_rank(rank: int, world: int) -> tuple[dict, dict]:
    return _train(rank, world), _bfloat16(rank, world)


@pytest.fixture(scope="module")
def ranks() -> list[tuple[dict, dict]]:
    return run_ranks(2, _on_rank)


def test_gradients_of_bfloat16_are_averaged_in_float32_by_every_engine(ranks):
    for _, gradients in ranks:
        expected = gradients[-1]
        for stage, gradient in gradients.items():
            assert (gradient - expected).norm() < 1e-6 * expected.norm(), stage


def test_auto_is_ddp_unless_something_is_sharded():
    assert [EngineConfig(zero_stage=stage).is_deepspeed for stage in range(4)] == [0, 1, 1, 1]


def _train(rank: int, world: int) -> dict[tuple[str, int], tuple[Trained, Trained | None]]:
    """Per engine: after STEPS steps, and after two steps in the engine before it and the rest in
    this one.
    """
    out, half_way = {}, None
    mine = slice(0, 5) if rank == 0 else slice(5, ROWS)  # uneven
    for name, stage in [*ENGINES, ENGINES[0]]:
        straight = _run(name, stage, rank, world, mine, range(STEPS), None)
        moved = None
        if half_way is not None:
            moved = _run(name, stage, rank, world, mine, range(2, STEPS), half_way)
        out[(name, stage)] = (straight, moved)
        half_way = _run(name, stage, rank, world, mine, range(2), None)
    return out


def _run(name, stage, rank, world, mine, steps, state: Trained | None) -> Trained:
    net = network()
    attributes = [set(vars(module)) for module in net.modules()]
    if state is not None:
        net.load_state_dict(state.weights)
    engine = make_engine(
        net,
        EngineConfig(name=name, zero_stage=stage),
        OptimConfig(learning_rate=1e-2),
        Processes(rank, world, "cpu"),
    )
    engine.max_norm = MAX_NORM
    if state is not None:
        engine.load_moments(state.moments)
    norms, bad_norm = [], 0.0
    for step in steps:
        if step == 1:
            # The loss is finite, and its gradient is not, on the last rank alone.
            out = engine(rows(step)[mine])
            bad = (0 * out).sqrt() if rank == world - 1 else out
            bad_norm = engine.backward(global_sum(bad.sum())).item()
            engine.drop_gradient()
        loss = global_sum(engine(rows(step)[mine]).square().sum()) / ROWS
        norms.append(engine.backward(loss).item())
        engine.step()
    weights, moments = engine.weights(), engine.moments()
    engine.close()
    # The network is whole again, and an ordinary one.
    assert [set(vars(module)) for module in net.modules()] == attributes
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    for key, value in net.state_dict().items():
        assert torch.equal(value, weights[key])
    net(rows(0)).sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    return Trained(weights, moments, norms, bad_norm)


def test_engines_equal_plain_adam_and_take_over_from_each_other(ranks):
    expected, norms = plain_adam()
    assert min(norms) < MAX_NORM < max(norms), "some gradients are clipped, some are not"
    for result, _ in ranks:
        assert set(result) == set(ENGINES)
        for name, (straight, moved) in result.items():
            assert not math.isfinite(straight.bad_norm), "on every rank"
            assert straight.norms == pytest.approx(norms, rel=1e-5)
            for weights in (straight.weights, moved.weights):
                for key, value in expected.items():
                    torch.testing.assert_close(
                        weights[key], value, rtol=1e-5, atol=1e-6, msg=f"{name} {key}"
                    )


def test_bfloat16_on_cpu_is_refused():
    with pytest.raises(InputError, match="use 'float32'"):
        make_engine(
            network(),
            EngineConfig(name="ddp", precision="bfloat16"),
            OptimConfig(learning_rate=1e-3),
            Processes(0, 1, "cpu"),
        )


def test_zero_needs_deepspeed():
    with pytest.raises(ValueError, match="zero_stage is 1, but ddp"):
        EngineConfig(name="ddp", zero_stage=1)
