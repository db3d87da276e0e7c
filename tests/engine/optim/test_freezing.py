"""Parameters that stay as they are for some epochs."""

from __future__ import annotations

import pytest
from torch import nn

from bsou_dist.common.errors import InputError
from bsou_dist.engine.optim.config import OptimConfig
from bsou_dist.engine.optim.freezing import check_names, freeze, next_thaw


def recipe(*freeze: dict) -> OptimConfig:
    return OptimConfig.model_validate({"learning_rate": 1.0, "freeze": freeze})


STAGED = recipe({"match": "0.*", "epochs": 2}, {"match": "*.bias", "epochs": 4})


def trained(network: nn.Module) -> set[str]:
    return {name for name, value in network.named_parameters() if value.requires_grad}


def test_patterns_freeze_and_thaw_at_their_epochs_and_leave_the_rest_alone():
    network = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1), nn.Linear(1, 1))
    network[2].weight.requires_grad_(False)  # as it was made
    expected = {0: {"1.weight"}, 2: {"0.weight", "1.weight"}}
    expected[4] = {"0.weight", "1.weight", "0.bias", "1.bias", "2.bias"}
    for epoch in (0, 1, 2, 3, 4, 9):
        freeze(network, STAGED, epoch)
        assert trained(network) == expected[min(epoch // 2 * 2, 4)], epoch


def test_the_next_thaw():
    assert [next_thaw(STAGED, epoch, 7) for epoch in (0, 1, 2, 3, 4)] == [2, 2, 4, 4, 7]
    assert next_thaw(recipe({"match": "0.*"}), 0, 7) == 7
    assert next_thaw(recipe({"match": "0.*", "epochs": 9}), 0, 7) == 7


def test_what_cannot_be_meant_is_refused():
    with pytest.raises(
        InputError, match=r"optim.freeze: no parameter's name matches 'encoder\.\*'"
    ):
        check_names(nn.Linear(1, 1), recipe({"match": "encoder.*"}))
    with pytest.raises(InputError, match="there is nothing to train"):
        check_names(nn.Linear(1, 1), recipe({"match": "*"}))
