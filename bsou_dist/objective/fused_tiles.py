"""What is done to a tile of scores between its matrix products, compiled into one pass over it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

FUSED = {"cpu": False, "cuda": True}
"""Whether what is done to a tile between its matrix products is compiled into one pass over it.

A GPU needs that, being bound by memory there; a CPU gains little and would wait for its compiler.
"""


def fused(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """`function`, compiled where that is wanted and possible."""
    if FUSED[device.type] and _can_compile(device.type):
        return _compiled(function)
    return function


@cache
def _can_compile(device: str) -> bool:
    """Whether torch finds the compilers that it needs for a device; said where it does not."""
    try:
        torch.compile(lambda x: x.exp().sum(), dynamic=True)(torch.ones(2, 2, device=device))
    except Exception as error:
        reason = str(error).splitlines()[0]
        print(
            f"note: torch cannot compile for {device} here ({reason}); the contrastive loss is as "
            "exact without, and slower",
            file=sys.stderr,
        )
        return False
    return True


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function, dynamic=True)


def exp_sums(
    scores: Tensor, shift: Tensor, row_counts: Tensor, column_counts: Tensor, both: bool
) -> tuple[Tensor, Tensor | None]:
    """Sums of exp(scores - shift) along rows and, if `both`, columns.

    What is summed counts by `column_counts` and `row_counts`: 1 for a row that is there, else 0.
    """
    # The difference is not made in place: compiled, the exponentials are never written to memory.
    exps = (scores - shift).exp_()
    return torch.mv(exps, column_counts), torch.mv(exps.T, row_counts) if both else None


def weigh(scores: Tensor, shift: Tensor, row_factor: Tensor, column_factor: Tensor) -> None:
    """Replace scores by exp(scores - shift) (row_factor_i + column_factor_j)."""
    scores.sub_(shift).exp_().mul_(row_factor[:, None] + column_factor)
