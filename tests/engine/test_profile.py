"""A trace of training steps, and the time that a rank's own work takes."""

from __future__ import annotations

import gzip
import json
import time

import pytest
import torch
from torch import Tensor, nn

from bsou_dist.engine.profile import SETTLING_STEPS, StepProfile
from bsou_dist.engine.rank_times import EpochTimes, OwnTime


@pytest.mark.parametrize(("taken", "traced"), [(SETTLING_STEPS + 5, 2), (SETTLING_STEPS + 1, 1)])
def test_a_trace_holds_as_many_steps_as_asked_for_or_as_there_were(taken, traced, tmp_path):
    path = tmp_path / "profile.json.gz"
    with StepProfile(2, path) as profile:
        for _ in range(taken):
            torch.ones(4, 4) @ torch.ones(4, 4)
            profile.step()
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    assert sum(event.get("name") == "aten::mm" for event in events) == traced
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


class Slow(nn.Module):
    def forward(self, rows: Tensor) -> Tensor:
        time.sleep(0.02)
        return rows


def test_own_time_is_that_of_forward_passes_in_training():
    network = Slow()
    with OwnTime(network, "cpu") as own:
        network(torch.ones(1))
        time.sleep(0.02)
        once = own.take_s()
        network.eval()(torch.ones(1))
        assert own.take_s() == 0
    network.train()(torch.ones(1))
    assert own.take_s() == 0
    assert once >= 0.02


def test_the_rank_that_works_longest_before_the_others_is_named():
    times = EpochTimes(
        steps=10, trained_s=20.0, waited_s=[1.0, 0.0, 2.0], forward_s=[2.0, 9.0, 4.0]
    )
    assert times.values(items=32, unit="exam") == {
        "epoch_s": 20.0,
        "train/data_wait_share": 0.1,
        "train/exams_per_s": 16.0,
        "ranks/slowest": 1,
        "ranks/slowest_step_s": 0.9,
        "ranks/median_step_s": 0.6,
    }
