"""What holds for the contrastive loss whatever the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gloo import run_ranks
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from bsou_dist.objective import contrastive_tiled as tiled
from bsou_dist.objective.contrastive import multitask_supcon
from bsou_dist.objective.contrastive_reference import reference_multitask_supcon

TASKS, DIM = 2, 4
settings.register_profile("steady", derandomize=True, deadline=None, max_examples=60, database=None)
settings.load_profile("steady")


@pytest.fixture(autouse=True, scope="module")
def small_tiles():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(tiled.TILE_ROWS, "cpu", 3)
        yield


@st.composite
def batches(draw: st.DrawFn) -> dict[str, Tensor]:
    rows = draw(st.integers(1, 14))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    z = F.normalize(torch.randn(TASKS, rows, DIM, generator=generator, dtype=torch.float64), dim=-1)
    options = {
        "sweep": torch.randint(-1, 3, (rows,), generator=generator),
        "subject": torch.randint(0, 4, (rows,), generator=generator),
        "valid": torch.rand(rows, generator=generator) > 0.2,
    }
    chosen = draw(st.sets(st.sampled_from(sorted(options))))
    classes = draw(st.integers(1, 4))
    return {
        "embeddings": z,
        "labels": torch.randint(-1, classes, (TASKS, rows), generator=generator),
        **{name: options[name] for name in sorted(chosen)},
    }


temperatures = st.floats(0.005, 5.0)


def loss_and_gradient(form, embeddings: Tensor, labels: Tensor, **options) -> tuple[Tensor, Tensor]:
    z = embeddings.clone().requires_grad_()
    loss = form(z, labels, **options)
    return loss.detach(), torch.autograd.grad(loss, z)[0]


def assert_equal(got: tuple[Tensor, Tensor], want: tuple[Tensor, Tensor]) -> None:
    torch.testing.assert_close(got[0], want[0], rtol=1e-10, atol=1e-10)
    assert (got[1] - want[1]).norm() <= 1e-10 * want[1].norm() + 1e-10


@given(batches(), temperatures)
def test_equals_the_plain_form(batch, temperature):
    assert_equal(
        loss_and_gradient(multitask_supcon, **batch, temperature=temperature),
        loss_and_gradient(reference_multitask_supcon, **batch, temperature=temperature),
    )


@given(batches(), temperatures, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(batch, temperature, random):
    order = list(range(batch["labels"].shape[1]))
    random.shuffle(order)
    loss, gradient = loss_and_gradient(multitask_supcon, **batch, temperature=temperature)
    shuffled = {
        name: value[..., order, :] if name == "embeddings" else value[..., order]
        for name, value in batch.items()
    }
    assert_equal(
        loss_and_gradient(multitask_supcon, **shuffled, temperature=temperature),
        (loss, gradient[:, order]),
    )


@given(batches(), temperatures)
def test_a_task_without_labels_adds_nothing(batch, temperature):
    loss, gradient = loss_and_gradient(multitask_supcon, **batch, temperature=temperature)
    more = batch | {
        "embeddings": torch.cat([batch["embeddings"], batch["embeddings"][:1]]),
        "labels": torch.cat([batch["labels"], torch.full_like(batch["labels"][:1], -1)]),
    }
    with_it, gradient_with_it = loss_and_gradient(multitask_supcon, **more, temperature=temperature)
    assert with_it == loss
    assert torch.equal(gradient_with_it[:TASKS], gradient)
    assert not gradient_with_it[TASKS].any()


@given(batches(), temperatures)
def test_duplicate_clips_are_rows_like_any_other(batch, temperature):
    twice = {
        name: torch.cat([value, value], dim=1 if name in ("embeddings", "labels") else 0)
        for name, value in batch.items()
    }
    got = loss_and_gradient(multitask_supcon, **twice, temperature=temperature)
    assert_equal(
        got, loss_and_gradient(reference_multitask_supcon, **twice, temperature=temperature)
    )
    first, second = got[1].chunk(2, dim=1)
    assert (first - second).norm() <= 1e-10 * first.norm() + 1e-10


@given(batches(), st.sampled_from([torch.float32, torch.bfloat16]), st.floats(0.005, 0.03))
def test_small_temperatures_give_no_nan(batch, dtype, temperature):
    batch["embeddings"] = batch["embeddings"].to(dtype)
    loss, gradient = loss_and_gradient(multitask_supcon, **batch, temperature=temperature)
    assert loss.isfinite()
    assert loss >= 0
    assert gradient.isfinite().all()
    # The wide form of the same numbers is within rounding: 1e-6 of scores of up to 1 / temperature.
    wide = loss_and_gradient(
        multitask_supcon,
        **batch | {"embeddings": batch["embeddings"].double()},
        temperature=temperature,
    )
    assert abs(loss - wide[0]) <= TASKS * 4e-6 / temperature


CASES, WORLD = 12, 3


def _cases() -> list[tuple[dict[str, Tensor], list[list[int]]]]:
    """Batches, and which rows each rank holds: any rows, any number of them, in any order."""
    rng = np.random.default_rng(0)
    cases = []
    for _ in range(CASES):
        rows = int(rng.integers(1, 20))
        z = torch.from_numpy(rng.standard_normal((TASKS, rows, DIM)))
        labels = torch.from_numpy(rng.integers(-1, 3, (TASKS, rows)))
        owner = rng.integers(0, WORLD, rows)
        order = rng.permutation(rows)
        batch = {
            "embeddings": F.normalize(z, dim=-1),
            "labels": labels,
            "subject": torch.from_numpy(rng.integers(0, 5, rows)),
        }
        rows_of_ranks = [[int(i) for i in order if owner[i] == rank] for rank in range(WORLD)]
        cases.append((batch, rows_of_ranks))
    return cases


def _on_rank(rank: int, world: int) -> list[tuple[Tensor, Tensor]]:
    tiled.TILE_ROWS["cpu"] = 3
    out = []
    for batch, rows_of_ranks in _cases():
        rows = rows_of_ranks[rank]
        mine = {
            "embeddings": batch["embeddings"][:, rows],
            "labels": batch["labels"][:, rows],
            "subject": batch["subject"][rows],
        }
        out.append(loss_and_gradient(multitask_supcon, **mine, temperature=0.1))
    return out


def test_which_rank_holds_which_rows_changes_nothing():
    results = run_ranks(WORLD, _on_rank)
    for number, (batch, rows_of_ranks) in enumerate(_cases()):
        loss, gradient = loss_and_gradient(multitask_supcon, **batch, temperature=0.1)
        for rank, result in enumerate(results):
            rank_loss, rank_gradient = result[number]
            assert_equal(
                (rank_loss, rank_gradient / WORLD), (loss, gradient[:, rows_of_ranks[rank]])
            )
