"""How the learning rate moves: a factor for every step, of which every group has its own multiple.

But for 'plateau', the factor is a function of the number of steps done, so that there is nothing to
save.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from bsou_dist.engine.optim.config import OptimConfig

THRESHOLD = 1e-4
"""A validation loss counts as better if it is so much lower, as a share of the best.

That is the rule of torch's ReduceLROnPlateau, but for losses below zero, which those of regressions
reach: there torch 2.15 takes a loss that stays the same for a better one, and the rate would stay.
"""


class Schedule:
    """The learning rate of a stage.

    Args:
        optim: with the learning rate that the factor is multiplied by.
        epochs: of the stage.
        steps: of an epoch.
    """

    def __init__(self, optim: OptimConfig, *, epochs: int, steps: int) -> None:
        self.learning_rate = optim.learning_rate
        self._config = optim.schedule
        self._epochs = epochs
        self._steps = steps
        self._best = math.inf
        self._waited = 0
        """Epochs since a better loss."""
        self._drops = 0
        """How often the loss stopped falling."""

    def rate(self, done: int) -> float:
        """The learning rate of the step after `done` steps of the stage."""
        return self.learning_rate * self._factor(done) * self._warm(done)

    def set_rates(self, optimizer: torch.optim.Optimizer, done: int) -> None:
        """Give every group of an optimizer its rate for the step after `done` steps."""
        rate = self.rate(done)
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * rate

    def epoch_done(self, valid_loss: float) -> None:
        """Take the validation loss of an epoch into account."""
        enough = THRESHOLD * abs(self._best) if math.isfinite(self._best) else 0.0
        if valid_loss < self._best - enough:
            self._best = valid_loss
            self._waited = 0
            return
        self._waited += 1
        if self._waited > self._config.patience:
            self._drops += 1
            self._waited = 0

    def state(self) -> dict[str, Any]:
        """What `restore` needs, as plain values."""
        return {"best": self._best, "waited": self._waited, "drops": self._drops}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self._best, self._waited = state["best"], state["waited"]
        self._drops = state["drops"]

    def _factor(self, done: int) -> float:
        config = self._config
        if config.kind == "plateau":
            return float(config.factor**self._drops)
        if config.kind == "step":
            passed = sum(done >= epoch * self._steps for epoch in config.at_epochs)
            return float(config.factor**passed)
        if config.kind == "cosine":
            warm = config.warmup_epochs * self._steps
            left = max(self._epochs * self._steps - warm, 1)
            share_done = min(max((done - warm) / left, 0.0), 1.0)
            return config.final + (1 - config.final) * (1 + math.cos(math.pi * share_done)) / 2
        return 1.0

    def _warm(self, done: int) -> float:
        """The share of the rate that warming up has come to; the first step has a part of it."""
        steps = self._config.warmup_epochs * self._steps
        return min((done + 1) / steps, 1.0) if steps > 0 else 1.0
