"""The `optim` block: what it refuses, and rates scaled by the batch."""

from __future__ import annotations

import pytest

from bsou_dist.engine.optim.config import OptimConfig

RATE = 1e-3


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"name": "adam", "momentum": 0.5}, "momentum is for name 'sgd' or 'lars'"),
        ({"name": "sgd", "betas": (0.8, 0.9)}, "betas is for name 'adam' or 'adamw' or 'lamb'"),
        ({"betas": (0.9, 1.0)}, r"betas must lie in \[0, 1\)"),
        ({"base_batch": 64}, "scale_rate is 'none'"),
        ({"schedule": {"kind": "step"}}, "say after which epochs"),
        ({"schedule": {"kind": "step", "at_epochs": (5, 3)}}, "must rise and begin above 0"),
        ({"schedule": {"kind": "cosine", "factor": 0.5}}, "factor is for kind 'plateau' or 'step'"),
        ({"schedule": {"final": 0.1}}, "final is for kind 'cosine', and kind is 'plateau'"),
    ],
)
def test_what_would_have_no_effect_is_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        OptimConfig.model_validate({"learning_rate": RATE, **settings})


@pytest.mark.parametrize(
    ("scale", "rate"), [("none", RATE), ("linear", 4 * RATE), ("square_root", 2 * RATE)]
)
def test_the_rate_is_scaled_by_the_batch(scale, rate):
    scaled = OptimConfig(learning_rate=RATE, scale_rate=scale).scaled_to(128)
    assert scaled.learning_rate == pytest.approx(rate)
    assert scaled.scaled_to(9999) == scaled, "and not twice"
