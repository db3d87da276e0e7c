"""Threads that share tiles: the same sums on any number of them, and their errors."""

from __future__ import annotations

import time

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from bsou_dist.objective import contrastive_tiled as tiled
from bsou_dist.objective.contrastive import multitask_supcon
from bsou_dist.objective.tile_threads import Job, rounds, run_jobs

ROWS = slice(0, 1)


def nothing() -> Tensor:
    return torch.empty(0)


@pytest.mark.parametrize("count", range(1, 9))
def test_rounds_hold_every_pair_once_and_pairs_in_a_row_share_no_tile(count):
    pairs = list(rounds(count))
    assert sorted(pairs) == [(i, j) for i in range(count) for j in range(i + 1, count)]
    together = count // 2
    for first in range(0, len(pairs), together or 1):
        tiles = [tile for pair in pairs[first : first + together] for tile in pair]
        assert len(set(tiles)) == len(tiles)


def test_jobs_that_write_to_one_tile_keep_their_order():
    jobs = [Job(ROWS, ROWS, True, (number % 3, 3 + number % 2)) for number in range(40)]
    done: list[int] = []

    def work(job: Job, _: Tensor) -> None:
        number = next(i for i, one in enumerate(jobs) if one is job)
        time.sleep(0.001 * (number % 4))  # the later ones would overtake
        done.append(number)

    run_jobs(jobs, work, nothing, threads=4)
    for tile in range(5):
        order = [number for number in done if tile in jobs[number].writes]
        assert order == sorted(order)
    assert sorted(done) == list(range(40))


def test_an_error_in_a_thread_is_raised_and_the_threads_go_on_with_other_work():
    jobs = [Job(ROWS, ROWS, True, (number % 2, 2)) for number in range(9)]
    done: list[int] = []

    def fail(job: Job, _: Tensor) -> None:
        done.append(1)
        if len(done) == 3:
            raise ValueError("the third")

    with pytest.raises(ValueError, match="the third"):
        run_jobs(jobs, fail, nothing, threads=2)
    assert len(done) == 3
    run_jobs(jobs, lambda job, _: done.append(1), nothing, threads=2)
    assert len(done) == 3 + 9


@pytest.mark.parametrize("temperature", [0.1, 0.002])
def test_the_loss_does_not_depend_on_the_number_of_threads(monkeypatch, temperature):
    monkeypatch.setitem(tiled.TILE_ROWS, "cpu", 8)
    generator = torch.Generator().manual_seed(0)
    z = F.normalize(torch.randn(2, 101, 16, generator=generator), dim=-1).requires_grad_()
    labels = torch.randint(-1, 3, (2, 101), generator=generator)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 5, 5):
            torch.set_num_threads(threads)
            loss = multitask_supcon(z, labels, temperature=temperature)
            found.append((loss.detach(), torch.autograd.grad(loss, z)[0]))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for loss, gradient in found[1:]:
        assert torch.equal(loss, found[0][0])
        assert torch.equal(gradient, found[0][1])
