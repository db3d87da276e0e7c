"""Engines over real processes: equal to one process with plain Adam; state moves between them."""

from __future__ import annotations

import pytest
import torch
from gloo import run_ranks
from torch import Tensor, nn

from bsou_dist.common.errors import InputError
from bsou_dist.engine.make import EngineConfig, make_engine
from bsou_dist.engine.optim.config import OptimConfig
from bsou_dist.engine.processes import Processes
from bsou_dist.objective.collective import global_sum

ROWS, STEPS = 7, 4
ENGINES = [("ddp", 0), ("deepspeed", 0), ("deepspeed", 1), ("deepspeed", 2)]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))


def rows(step: int) -> Tensor:
    return torch.randn(ROWS, 5, generator=torch.Generator().manual_seed(step))


def plain_adam(steps: int = STEPS) -> dict[str, Tensor]:
    net = network()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for step in range(steps):
        optimizer.zero_grad()
        (net(rows(step)).square().sum() / ROWS).backward()
        optimizer.step()
    return net.state_dict()


def _train(
    rank: int, world: int
) -> dict[tuple[str, int], tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """Weights per engine: after STEPS steps, and after two steps in the engine before it and the
    rest in this one.
    """
    out, half_way = {}, None
    mine = slice(0, 5) if rank == 0 else slice(5, ROWS)  # uneven
    for name, stage in [*ENGINES, ENGINES[0]]:
        straight, _ = _run(name, stage, rank, world, mine, range(STEPS), None)
        moved = None
        if half_way is not None:
            moved, _ = _run(name, stage, rank, world, mine, range(2, STEPS), half_way)
        out[(name, stage)] = (straight, moved)
        half_way = _run(name, stage, rank, world, mine, range(2), None)
    return out


def _run(name, stage, rank, world, mine, steps, state):
    net = network()
    if state is not None:
        net.load_state_dict(state[0])
    engine = make_engine(
        net,
        EngineConfig(name=name, zero_stage=stage),
        OptimConfig(learning_rate=1e-2),
        Processes(rank, world, "cpu"),
    )
    if state is not None:
        engine.load_moments(state[1])
    for step in steps:
        engine.update(global_sum(engine(rows(step)[mine]).square().sum()) / ROWS)
    weights = {key: value.clone() for key, value in engine.network.state_dict().items()}
    return weights, engine.moments()


def test_engines_equal_plain_adam_and_take_over_from_each_other():
    expected = plain_adam()
    for result in run_ranks(2, _train):
        assert set(result) == set(ENGINES)
        for straight, moved in result.values():
            for weights in (straight, moved):
                for key, value in expected.items():
                    torch.testing.assert_close(weights[key], value, rtol=1e-5, atol=1e-6)


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
