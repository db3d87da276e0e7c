"""Groups of parameters by name, dimension and layer."""

from __future__ import annotations

import pytest
from torch import nn

from bsou_dist.common.errors import InputError
from bsou_dist.engine.optim.config import OptimConfig
from bsou_dist.engine.optim.groups import parameter_groups

RATE = 0.1


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        blocks = [nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.ReLU())) for _ in range(2)]
        self.encoder = nn.Sequential(nn.Linear(2, 2), *blocks, nn.LayerNorm(2))
        self.heads = nn.ModuleDict({"a": nn.Linear(2, 1), "b": nn.Linear(2, 1)})


def by_name(network: nn.Module, **settings: object) -> dict[str, tuple[float, float]]:
    """Rate as a multiple of the stage's, and weight decay."""
    optim = OptimConfig.model_validate({"learning_rate": RATE, **settings})
    names = {parameter: name for name, parameter in network.named_parameters()}
    return {
        names[parameter]: (group["lr"] / RATE, group["weight_decay"])
        for group in parameter_groups(network, optim)
        for parameter in group["params"]
    }


def test_norm_and_bias_have_no_weight_decay():
    found = by_name(Network(), name="adamw", weight_decay=0.05)
    assert set(found) == {name for name, _ in Network().named_parameters()}
    for name, (rate, weight_decay) in found.items():
        is_weight = name.endswith("weight") and name != "encoder.3.weight"
        assert (rate, weight_decay) == (1, 0.05 if is_weight else 0), name


def test_the_first_pattern_that_matches_counts():
    groups = [
        {"match": "heads.a.*", "rate": 10, "weight_decay": 0.5},
        {"match": "heads.*", "rate": 2},
    ]
    found = by_name(Network(), groups=groups, weight_decay=0.1)
    assert found["heads.a.weight"] == pytest.approx((10, 0.5))
    assert found["heads.a.bias"] == pytest.approx((10, 0))
    assert found["heads.b.weight"] == pytest.approx((2, 0.1))
    assert found["encoder.0.weight"] == pytest.approx((1, 0.1))


def test_rates_fall_from_layer_to_layer_and_times_those_of_patterns():
    found = by_name(Network(), layer_decay=0.5, groups=[{"match": "encoder.0.*", "rate": 3}])
    rates = {name: rate for name, (rate, _) in found.items()}
    assert rates["heads.b.bias"] == 1
    assert rates["encoder.3.weight"] == rates["encoder.2.0.0.weight"] == 0.5
    assert rates["encoder.1.0.0.bias"] == 0.25
    assert rates["encoder.0.weight"] == pytest.approx(3 * 0.125)


def test_what_cannot_be_meant_is_refused():
    with pytest.raises(InputError, match=r"no parameter's name matches 'experts\.\*'; .*encoder"):
        by_name(Network(), groups=[{"match": "experts.*"}])
    with pytest.raises(InputError, match="this network has no encoder"):
        by_name(nn.Linear(2, 2), layer_decay=0.5)
    with pytest.raises(InputError, match="there is nothing to train"):
        by_name(Network().requires_grad_(False))


@pytest.mark.parametrize("name", ["lars", "lamb"])
def test_only_weights_are_adapted_to_their_norm(name):
    groups = parameter_groups(Network(), OptimConfig(name=name, learning_rate=RATE))
    for group in groups:
        assert group["always_adapt"] == (group["params"][0].ndim > 1)
