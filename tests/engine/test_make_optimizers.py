"""Every optimizer through every engine: the steps of the plain one, and moments that move."""

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
RATE, DECAY, MAX_NORM = 1e-2, 0.1, 0.3
HEAD = {"match": "2.*", "rate": 0.5}
"""The last layer has half the rate."""
DDP = ("ddp", 0)
PLAIN, ZERO_1, ZERO_2, ZERO_3 = (("deepspeed", stage) for stage in range(4))
ENGINES = {
    "adam": [DDP, ZERO_2],
    "adamw": [DDP, PLAIN, ZERO_1, ZERO_3],
    "sgd": [DDP, ZERO_1, ZERO_2, ZERO_3],
    "lars": [DDP, PLAIN],
    "lamb": [DDP, PLAIN],
}


def optim(name: str) -> OptimConfig:
    return OptimConfig(
        name=name, learning_rate=RATE, weight_decay=DECAY, groups=(HEAD,), max_norm=MAX_NORM
    )


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))


def rows(step: int) -> Tensor:
    return torch.randn(ROWS, 5, generator=torch.Generator().manual_seed(step))


def plainly(name: str) -> dict[str, Tensor]:
    """Weights after the papers' own formulas, on one process."""
    net = network()
    kept: dict[str, tuple[Tensor, Tensor]] = {}
    for step in range(STEPS):
        net.zero_grad()
        (net(rows(step)).square().sum() / ROWS).backward()
        norm = torch.stack([weight.grad.norm() for weight in net.parameters()]).norm()
        assert norm > 1.1 * MAX_NORM, "else this would not show clipping"
        for weight in net.parameters():
            weight.grad *= MAX_NORM / (norm + 1e-6)
        for key, weight in net.named_parameters():
            rate = RATE * (0.5 if key.startswith("2.") else 1)
            decay = DECAY if weight.ndim > 1 else 0.0
            first, second = kept.get(key, (torch.zeros_like(weight), torch.zeros_like(weight)))
            grad = weight.grad
            with torch.no_grad():
                if name in ("sgd", "lars"):
                    grad = grad + decay * weight
                    if name == "lars" and weight.ndim > 1:
                        norm = weight.grad.norm() + decay * weight.norm() + 1e-8
                        grad = grad * 1e-3 * weight.norm() / norm
                    first = 0.9 * first + grad
                    weight -= rate * first
                else:
                    grad = grad + decay * weight if name == "adam" else grad
                    first = 0.9 * first + 0.1 * grad
                    second = 0.999 * second + 0.001 * grad**2
                    eps = 1e-6 if name == "lamb" else 1e-8
                    mean, square = (
                        first / (1 - 0.9 ** (step + 1)),
                        second / (1 - 0.999 ** (step + 1)),
                    )
                    move = mean / (square.sqrt() + eps)
                    if name == "adamw":
                        move = move + decay * weight
                    if name == "lamb" and weight.ndim > 1:
                        move = move + decay * weight
                        move = move * weight.norm() / move.norm()
                    weight -= rate * move
            kept[key] = first, second
    return net.state_dict()


def _run(
    name: str, engine: tuple[str, int], rank: int, world: int, steps: range, state: tuple | None
) -> tuple[dict[str, Tensor], dict[str, dict[str, Tensor]]]:
    mine = slice(0, 5) if rank == 0 else slice(5, ROWS)  # uneven
    net = network()
    if state is not None:
        net.load_state_dict(state[0])
    config = EngineConfig(name=engine[0], zero_stage=engine[1])
    made = make_engine(net, config, optim(name), Processes(rank, world, "cpu"))
    if state is not None:
        made.load_moments(state[1])
    for step in steps:
        made.backward(global_sum(made(rows(step)[mine]).square().sum()) / ROWS)
        made.step()
    return made.weights(), made.moments()


def _train(rank: int, world: int) -> dict[tuple, tuple]:
    """Weights after STEPS steps, and after two in the engine before and the rest in this one."""
    out = {}
    for name, engines in ENGINES.items():
        half_way = _run(name, engines[-1], rank, world, range(2), None)
        for engine in engines:
            straight, _ = _run(name, engine, rank, world, range(STEPS), None)
            moved, _ = _run(name, engine, rank, world, range(2, STEPS), half_way)
            out[name, engine] = (straight, moved)
            half_way = _run(name, engine, rank, world, range(2), None)
    return out


def test_every_engine_takes_the_optimizers_steps_and_they_move_between_engines():
    for result in run_ranks(2, _train):
        for (name, engine), ends in result.items():
            for weights in ends:
                for key, value in plainly(name).items():
                    torch.testing.assert_close(
                        weights[key], value, rtol=1e-5, atol=1e-6, msg=f"{name} {engine} {key}"
                    )


def test_a_moving_average_needs_whole_weights():
    with pytest.raises(InputError, match=r"set engine\.zero_stage to 2"):
        make_engine(
            network(),
            EngineConfig(zero_stage=3),
            OptimConfig(learning_rate=RATE, ema=0.9),
            Processes(0, 1, "cpu"),
        )


@pytest.mark.parametrize("name", ["lars", "lamb"])
def test_shards_of_flat_tensors_are_refused_where_norms_of_tensors_count(name):
    with pytest.raises(InputError, match=r"set engine\.zero_stage to 0"):
        make_engine(network(), EngineConfig(zero_stage=1), optim(name), Processes(0, 1, "cpu"))
