"""The switches of the engine: what each changes, and where it is refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch._inductor.config
from torch import Tensor, nn

from bsou_dist.common.errors import InputError
from bsou_dist.engine.dropout import seed_dropout
from bsou_dist.engine.make import EngineConfig, check_optimizer, make_engine
from bsou_dist.engine.optim.config import OptimConfig
from bsou_dist.engine.processes import start_processes
from bsou_dist.engine.speed import SpeedConfig, check_speed, prepare_network, set_number_formats
from bsou_dist.model.encoder import EncoderConfig, build_encoder

STEPS, CLIPS = 3, 4


class Network(nn.Module):
    """An encoder with batch norm in its blocks, and a head with dropout."""

    def __init__(self, encoder: nn.Module, dim: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(dim, 2))

    def forward(self, clips: Tensor) -> Tensor:
        return self.head(self.encoder(clips)[1])


def of_clips(dropout: float = 0.1) -> Network:
    torch.manual_seed(0)
    config = EncoderConfig(name="r3d_small", weights="none", norm="batch")
    encoder = build_encoder(config, frames=4, size_px=16)
    # Dropout in a block, too: what is computed again must draw the same.
    encoder.features[1].conv1.append(nn.Dropout(dropout))
    return Network(encoder, encoder.dim)


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 5)

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return rows, torch.tanh(self.layer(rows))


def of_rows() -> Network:
    torch.manual_seed(0)
    return Network(Pair(), 5)


@pytest.fixture(autouse=True)
def usual_formats() -> Iterator[None]:
    yield
    set_number_formats(SpeedConfig(), "cpu")


def train(net: Network, shape: tuple[int, ...], optim: str = "adam", **switches: object) -> dict:
    """What the network holds after some steps on one process."""
    with start_processes() as alone:
        config = EngineConfig(name="ddp", **switches)
        engine = make_engine(net, config, OptimConfig(name=optim, learning_rate=1e-3), alone)
        net.train()
        for step in range(STEPS):
            rows = torch.randn(CLIPS, *shape, generator=torch.Generator().manual_seed(step))
            seed_dropout(step)
            engine.backward(engine(rows).square().mean())
            engine.step()
        return {name: value.clone() for name, value in net.state_dict().items()}


CLIP = (1, 4, 16, 16)


def assert_equal(found: dict, expected: dict, tolerance: float = 0.0) -> None:
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=tolerance, atol=tolerance, msg=name)


@pytest.fixture(scope="module")
def plain() -> dict:
    return train(of_clips(), CLIP)


def test_what_is_computed_again_backward_changes_nothing(plain):
    net = of_clips()
    calls = [0]
    net.encoder.features[1].conv1[0].register_forward_hook(
        lambda *_: calls.__setitem__(0, calls[0] + 1)
    )
    assert_equal(train(net, CLIP, activation_checkpointing=True), plain)
    assert calls[0] == 2 * STEPS


def test_channels_innermost_round_alone():
    # Adam would blow up the rounding of gradients that are nearly zero, and dropout of a feature
    # map is drawn in the order of its memory.
    usual = train(of_clips(dropout=0), CLIP, "sgd")
    net = of_clips(dropout=0)
    assert_equal(train(net, CLIP, "sgd", channels_last=True), usual, tolerance=1e-4)
    weight = net.encoder.features[2].conv1[0].weight
    assert weight.is_contiguous(memory_format=torch.channels_last_3d)


def test_deterministic_is_equal_twice_and_refuses_the_rest(plain):
    ends = [train(of_clips(), CLIP, deterministic=True) for _ in range(2)]
    assert_equal(*ends)
    assert_equal(ends[0], plain)
    assert torch.are_deterministic_algorithms_enabled()
    values = torch.zeros(3)
    with pytest.raises(RuntimeError, match="deterministic"):
        values.put_(torch.tensor([0, 0]), torch.ones(2), accumulate=False)


@pytest.mark.parametrize("optim", ["adam", "adamw", "sgd"])
def test_a_fused_optimizer_takes_the_same_steps(optim):
    usual = train(of_rows(), (6,), optim)
    assert_equal(train(of_rows(), (6,), optim, fused_optimizer=True), usual, tolerance=1e-6)


@pytest.mark.slow
def test_a_compiled_encoder_computes_the_same(monkeypatch):
    monkeypatch.setattr(torch._inductor.config, "compile_threads", 1)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    usual = train(of_rows(), (6,))
    assert not torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert_equal(train(of_rows(), (6,), compile_encoder=True), usual, tolerance=1e-5)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"]


@pytest.mark.parametrize(
    ("precision", "tf32"), [("float32", False), ("tf32", True), ("bfloat16", False)]
)
def test_products_and_convolutions_have_the_format_asked_for(precision, tf32):
    torch.backends.cudnn.allow_tf32 = not tf32
    set_number_formats(SpeedConfig(precision=precision), "cuda")
    assert torch.backends.cuda.matmul.allow_tf32 == tf32
    assert torch.backends.cudnn.allow_tf32 == tf32


@pytest.mark.parametrize(
    ("switches", "said"),
    [
        ({"precision": "bfloat16"}, "wrong weight gradients"),
        ({"precision": "tf32"}, "use 'float32'"),
        ({"cudnn_benchmark": True}, "leave it out"),
    ],
)
def test_what_a_cpu_cannot_do_is_refused(switches, said):
    config = SpeedConfig(**switches)
    check_speed(config, "cuda:0")
    with pytest.raises(InputError, match=said):
        check_speed(config, "cpu")


def test_a_compiler_is_wanted_before_the_first_step(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(InputError, match=r"needs a C\+\+ compiler"):
        prepare_network(of_rows(), SpeedConfig(compile_encoder=True))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"deterministic": True, "cudnn_benchmark": True}, "deterministic forbids"),
        ({"compile_encoder": True, "activation_checkpointing": True}, "leave one of them out"),
        ({"name": "deepspeed", "channels_last": True}, "cannot broadcast such weights"),
    ],
)
def test_switches_that_contradict_each_other_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        EngineConfig(**settings)


def test_lamb_has_no_fused_kernel():
    with pytest.raises(InputError, match="there is no such kernel"):
        check_optimizer(
            EngineConfig(name="ddp", fused_optimizer=True),
            OptimConfig(name="lamb", learning_rate=1.0),
        )
