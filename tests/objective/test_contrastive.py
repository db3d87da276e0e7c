"""The contrastive loss against a plain double loop, and over real processes against one process."""

from __future__ import annotations

import math

import pytest
import torch
from gloo import run_ranks
from torch import Tensor
from torch.nn import functional as F

from bsou_dist.objective import contrastive_tiled as tiled
from bsou_dist.objective import fused_tiles
from bsou_dist.objective.contrastive import multitask_supcon, ucon
from bsou_dist.objective.contrastive_reference import reference_multitask_supcon

TEMPERATURE = 0.1
FORMS = {"tiled": multitask_supcon, "plain": reference_multitask_supcon}


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several tiles, the last one ragged, even for the few rows of a test."""
    monkeypatch.setitem(tiled.TILE_ROWS, "cpu", 5)


def double_loop(
    z: Tensor,
    labels: Tensor,
    tau: Tensor | float,
    sweep=None,
    subject=None,
    valid=None,
    denominator="all_others",
) -> Tensor:
    """[P1] eq. 2 written out, one anchor at a time."""
    tasks, rows, _ = z.shape
    valid = torch.ones(rows, dtype=torch.bool) if valid is None else valid
    loss = z.sum() * 0
    for t in range(tasks):
        has = [i for i in range(rows) if valid[i] and labels[t, i] >= 0]
        for i in has:
            others = [a for a in has if a != i]
            positives = [p for p in others if labels[t, p] == labels[t, i]]
            if sweep is not None:
                positives = [p for p in positives if sweep[p] == sweep[i] and sweep[i] >= 0]
            if subject is not None:
                positives = [p for p in positives if subject[p] != subject[i]]
            if denominator == "negatives":
                others = [a for a in others if labels[t, a] != labels[t, i]]
            if denominator == "without_excluded":
                others = [a for a in others if labels[t, a] != labels[t, i] or a in positives]
            if positives and others:
                total = torch.stack([torch.exp(z[t, i] @ z[t, a] / tau) for a in others]).sum()
                terms = [z[t, i] @ z[t, p] / tau - torch.log(total) for p in positives]
                loss = loss - torch.stack(terms).mean()
    return loss / max(int(valid.sum()), 1)


def case(rows: int = 17, tasks: int = 3, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z = F.normalize(torch.randn(tasks, rows, 8, generator=generator, dtype=torch.float64), dim=-1)
    return {
        "z": z,
        "labels": torch.randint(-1, 3, (tasks, rows), generator=generator),
        "sweep": torch.randint(-1, 3, (rows,), generator=generator),
        "subject": torch.randint(0, 5, (rows,), generator=generator),
        "valid": torch.rand(rows, generator=generator) > 0.2,
    }


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("temperature", [TEMPERATURE, 0.002])  # the second one needs row maxima
@pytest.mark.parametrize(
    "extra", [(), ("sweep",), ("subject",), ("valid",), ("sweep", "subject", "valid")]
)
def test_equals_the_double_loop(extra, temperature, form):
    data = case()
    options = {name: data[name] for name in extra}
    z = data["z"].clone().requires_grad_()
    tau = torch.tensor(temperature, dtype=torch.float64, requires_grad=True)
    loss = FORMS[form](z, data["labels"], temperature=tau, **options)
    grads = torch.autograd.grad(loss, (z, tau))
    expected = double_loop(z, data["labels"], tau, **options)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    assert loss.dtype == torch.float64
    for got, want in zip(grads, torch.autograd.grad(expected, (z, tau)), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)
    assert grads[0].abs().max() > 1e-3


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("temperature", [TEMPERATURE, 0.02])  # the second one needs row maxima
@pytest.mark.parametrize("denominator", ["without_excluded", "negatives"])
@pytest.mark.parametrize("extra", [(), ("sweep",), ("subject",), ("sweep", "subject", "valid")])
def test_other_denominators_equal_the_double_loop(extra, denominator, temperature, form):
    data = case()
    options = {name: data[name] for name in extra} | {"denominator": denominator}
    z = data["z"].clone().requires_grad_()
    tau = torch.tensor(temperature, dtype=torch.float64, requires_grad=True)
    loss = FORMS[form](z, data["labels"], temperature=tau, **options)
    grads = torch.autograd.grad(loss, (z, tau))
    expected = double_loop(z, data["labels"], tau, **options)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    for got, want in zip(grads, torch.autograd.grad(expected, (z, tau)), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)
    usual = FORMS[form](
        z, data["labels"], temperature=tau, **options | {"denominator": "all_others"}
    )
    assert (loss == usual) == (denominator == "without_excluded" and not extra)


@pytest.mark.parametrize("form", FORMS)
def test_an_anchor_without_negatives_adds_nothing_where_these_alone_count(form):
    z = case(rows=4, tasks=2)["z"].clone().requires_grad_()
    labels = torch.tensor([[1, 1, 1, 1], [0, 0, 2, -1]])
    loss = FORMS[form](z, labels, temperature=TEMPERATURE, denominator="negatives")
    loss.backward()
    expected = double_loop(z, labels, TEMPERATURE, denominator="negatives")
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    assert z.grad.isfinite().all()
    assert not z.grad[0].any()


def test_gradcheck():
    data = case(rows=6, tasks=2)
    z = data["z"].clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: multitask_supcon(x, data["labels"], temperature=0.5), (z,)
    )


def test_no_positive_gives_exactly_zero_and_zero_gradients():
    z = case(rows=4, tasks=2)["z"].clone().requires_grad_()
    labels = torch.tensor([[0, 1, 2, 3], [-1, -1, -1, -1]])
    loss = multitask_supcon(z, labels, temperature=TEMPERATURE)
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(z.grad, torch.zeros_like(z))


def test_whatever_padding_holds_changes_nothing():
    data = case()
    clean = multitask_supcon(
        data["z"], data["labels"], temperature=TEMPERATURE, valid=data["valid"]
    )
    z = torch.where(data["valid"][:, None], data["z"], torch.nan).requires_grad_()
    loss = multitask_supcon(z, data["labels"], temperature=TEMPERATURE, valid=data["valid"])
    loss.backward()
    assert loss == clean
    assert not z.grad[:, ~data["valid"]].any()


def test_missing_sweeps_match_nothing():
    z = case(rows=4, tasks=1)["z"]
    labels, sweep = torch.zeros(1, 4, dtype=torch.int64), torch.full((4,), -1)
    assert multitask_supcon(z, labels, temperature=TEMPERATURE, sweep=sweep).item() == 0.0


@pytest.mark.parametrize("temperature", [0.005, 0.07, 10.0])
def test_bf16_and_small_temperatures_are_finite(temperature):
    z = case()["z"].to(torch.bfloat16).requires_grad_()
    loss = multitask_supcon(z, case()["labels"], temperature=temperature)
    loss.backward()
    assert loss.dtype == torch.float32
    assert math.isfinite(loss.item())
    assert z.grad.isfinite().all()


def test_fused_tiles_change_nothing(monkeypatch):
    """What a GPU compiles, traced and functionalised here without its code generator."""
    data = case(rows=23)
    z = data["z"].clone().requires_grad_()
    traced = []

    def trace(function):
        traced.append(function)
        return torch.compile(function, dynamic=True, backend="aot_eager")

    def gradient() -> Tensor:
        loss = multitask_supcon(z, data["labels"], temperature=TEMPERATURE)
        return torch.autograd.grad(loss, z)[0]

    eager = gradient()
    monkeypatch.setitem(fused_tiles.FUSED, "cpu", True)
    monkeypatch.setattr(fused_tiles, "_can_compile", lambda device: True)
    monkeypatch.setattr(fused_tiles, "_compiled", trace)
    torch.testing.assert_close(gradient(), eager, rtol=1e-12, atol=1e-12)
    assert set(traced) == {fused_tiles.exp_sums, fused_tiles.weigh}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 5e-5)])
@pytest.mark.parametrize("temperature", [TEMPERATURE, 0.005])
def test_on_a_gpu_it_is_as_exact(monkeypatch, temperature, dtype, tolerance):
    monkeypatch.setitem(tiled.TILE_ROWS, "cuda", 384)
    data = case(rows=1000)
    z = data["z"].clone().requires_grad_()
    options = {name: data[name] for name in ("sweep", "subject", "valid")}
    expected = reference_multitask_supcon(z, data["labels"], temperature=temperature, **options)
    wanted = torch.autograd.grad(expected, z)[0]
    on_gpu = data["z"].to("cuda", dtype).requires_grad_()
    options_on_gpu = {name: value.cuda() for name, value in options.items()}
    loss = multitask_supcon(
        on_gpu, data["labels"].cuda(), temperature=temperature, **options_on_gpu
    )
    got = torch.autograd.grad(loss, on_gpu)[0].cpu().double()
    assert abs(loss.item() - expected.item()) <= tolerance * expected.item()
    assert (got - wanted).norm() <= tolerance * wanted.norm()


def test_ucon_is_nt_xent():
    clips = 5
    generator = torch.Generator().manual_seed(3)
    z = F.normalize(torch.randn(2 * clips, 8, generator=generator, dtype=torch.float64), dim=-1)
    index = torch.arange(clips).repeat(2)  # view-major: all first views, then all second ones
    scores = (z @ z.T / TEMPERATURE).fill_diagonal_(-torch.inf)
    expected = F.cross_entropy(scores, (torch.arange(2 * clips) + clips) % (2 * clips))
    torch.testing.assert_close(ucon(z, index, temperature=TEMPERATURE), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embeddings": torch.zeros(4, 8)}, r"embeddings must be floating \(T, N, D\)"),
        ({"labels": torch.zeros(2, 5, dtype=torch.int64)}, r"labels must be int64 \(2, 4\)"),
        ({"labels": torch.zeros(2, 4)}, "labels must be int64"),
        ({"temperature": 0.0}, "temperature must be > 0"),
        ({"valid": torch.ones(4)}, "valid must be torch.bool"),
        ({"sweep": torch.ones(3, dtype=torch.int64)}, r"sweep must be torch.int64 \(4,\)"),
    ],
)
def test_bad_input_names_the_shapes(change, message):
    good = {
        "embeddings": torch.zeros(2, 4, 8),
        "labels": torch.zeros(2, 4, dtype=torch.int64),
        "temperature": 0.1,
    }
    arguments = good | change
    with pytest.raises(ValueError, match=message):
        multitask_supcon(arguments.pop("embeddings"), arguments.pop("labels"), **arguments)


SPLITS = {2: [(9, 8), (17, 0)], 3: [(5, 12, 0), (1, 1, 15)], 4: [(4, 4, 4, 5), (0, 16, 0, 1)]}


def _on_rank(rank: int, world: int) -> list[tuple[float, Tensor, Tensor]]:
    tiled.TILE_ROWS["cpu"] = 3
    out = []
    for counts in SPLITS[world]:
        for extra in ((), ("sweep", "subject", "valid")):
            data = case()
            start = sum(counts[:rank])
            mine = slice(start, start + counts[rank])
            z = data["z"][:, mine].clone().requires_grad_()
            tau = torch.tensor(TEMPERATURE, dtype=torch.float64, requires_grad=True)
            loss = multitask_supcon(
                z,
                data["labels"][:, mine],
                temperature=tau,
                **{name: data[name][mine] for name in extra},
            )
            loss.backward()
            out.append((loss.item(), z.grad, tau.grad))
    try:
        multitask_supcon(
            torch.zeros(2, 4, 8 if rank else 7),
            torch.zeros(2, 4, dtype=torch.int64),
            temperature=0.1,
        )
    except ValueError:
        return out
    raise AssertionError(f"rank {rank}: ranks that disagree on D were not refused")


@pytest.mark.parametrize("world", list(SPLITS))
def test_processes_equal_one_process(world):
    results = run_ranks(world, _on_rank)
    number = 0
    for _counts in SPLITS[world]:
        for extra in ((), ("sweep", "subject", "valid")):
            data = case()
            z = data["z"].clone().requires_grad_()
            tau = torch.tensor(TEMPERATURE, dtype=torch.float64, requires_grad=True)
            options = {name: data[name] for name in extra}
            loss = multitask_supcon(z, data["labels"], temperature=tau, **options)
            loss.backward()
            losses, z_grads, tau_grads = zip(*(result[number] for result in results), strict=True)
            assert all(abs(rank_loss - loss.item()) < 1e-12 for rank_loss in losses)
            # Raw autograd gives the world size times the one-process gradient of the local rows ...
            gathered = torch.cat(z_grads, dim=1) / world
            assert (gathered - z.grad).norm() <= 1e-10 * z.grad.norm()
            # ... and the mean over ranks is the gradient itself, also of what all ranks share.
            mean_tau = torch.stack(tau_grads).mean()
            assert (mean_tau - tau.grad).abs() <= 1e-10 * tau.grad.abs()
            number += 1
