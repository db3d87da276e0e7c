"""Augmentation: pure, independent of the batch, and each effect does what its name says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from bsou_dist.feed.augment import (
    DEVIATION,
    IDENTITY,
    MEAN,
    AugmentConfig,
    Parameters,
    augment,
    choose_frames,
    draw_parameters,
)

EVERYTHING = AugmentConfig(
    rotation_probability=1,
    brightness_probability=1,
    blur_probability=1,
    blur_length=0.2,
    speckle_probability=1,
    patch_probability=1,
)


def clips(count: int, frames: int = 5, side: int = 40) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(
        0, 256, (count, 1, frames, side, side), dtype=torch.uint8, generator=generator
    )


def pixels(result: torch.Tensor) -> torch.Tensor:
    return result * DEVIATION + MEAN


def test_parameters_are_a_function_of_seed_epoch_key_and_view() -> None:
    parameters = draw_parameters(EVERYTHING, 1, 2, "study-M-0", 0)
    assert parameters == draw_parameters(EVERYTHING, 1, 2, "study-M-0", 0)
    others = [
        (2, 2, "study-M-0", 0),
        (1, 3, "study-M-0", 0),
        (1, 2, "study-M-1", 0),
        (1, 2, "study-M-0", 1),
        (12, 2, "study-M-0", 0),
        (1, 22, "study-M-0", 0),
    ]
    drawn = [draw_parameters(EVERYTHING, *other) for other in others]
    assert len({parameters.noise_seed, *(other.noise_seed for other in drawn)}) == len(others) + 1


def test_a_probability_moves_no_other_draw() -> None:
    without = draw_parameters(EVERYTHING.model_copy(update={"blur_probability": 0.0}), 1, 2, "k", 0)
    full = draw_parameters(EVERYTHING, 1, 2, "k", 0)
    assert without.blur == (0, 0) != full.blur
    assert (without.speckle, without.noise_seed, without.patches) == (
        full.speckle,
        full.noise_seed,
        full.patches,
    )


def test_strengths_stay_within_the_config() -> None:
    drawn = [draw_parameters(AugmentConfig(), 0, 0, str(number), 0) for number in range(500)]
    assert max(abs(p.rotation_degrees) for p in drawn) <= 15
    assert max(abs(p.gain - 1) for p in drawn) <= 0.3
    assert max(np.hypot(*p.blur) for p in drawn) <= 0.06
    assert max(p.speckle for p in drawn) <= 0.2
    assert {len(p.patches) for p in drawn} == {0, 1, 2, 3}
    assert 0.2 < np.mean([p.speckle > 0 for p in drawn]) - 0.2 < 0.4
    with pytest.raises(ValidationError, match="specle"):
        AugmentConfig.model_validate({"specle": 1})


@pytest.mark.parametrize("size", [16, 20, 33])  # 2.5 times smaller, half, not a multiple
def test_a_clip_alone_equals_the_clip_in_a_batch_bitwise(size: int) -> None:
    batch = clips(7, frames=3)
    parameters = [draw_parameters(EVERYTHING, 9, 0, str(number), 0) for number in range(7)]
    together = augment(batch, parameters, size)
    for number in range(7):
        alone = augment(batch[number : number + 1], parameters[number : number + 1], size)
        assert torch.equal(alone[0], together[number])
    again = augment(batch.flip(0), parameters[::-1], size).flip(0)
    assert torch.equal(again, together)


def test_identity_only_resizes() -> None:
    batch = clips(2)
    assert torch.allclose(pixels(augment(batch, [IDENTITY] * 2, 40)), batch / 255, atol=1e-5)
    quarter = batch.float().unflatten(-1, (20, 2)).unflatten(-3, (20, 2)).mean((-1, -3)) / 255
    assert torch.allclose(pixels(augment(batch, [IDENTITY] * 2, 20)), quarter, atol=1e-5)
    tenth = batch.float().unflatten(-1, (4, 10)).unflatten(-3, (4, 10)).mean((-1, -3)) / 255
    # Every pixel counts.
    assert torch.allclose(pixels(augment(batch, [IDENTITY] * 2, 4)), tenth, atol=1e-5)
    floating = augment(batch.float(), [IDENTITY] * 2, 20)
    assert torch.equal(floating, augment(batch, [IDENTITY] * 2, 20))


def test_rotation_turns_all_frames_alike() -> None:
    batch = clips(1)
    turned = pixels(augment(batch, [Parameters(rotation_degrees=90)], 40))
    assert torch.allclose(turned, torch.rot90(batch, 1, (-2, -1)) / 255, atol=1e-3)


def test_brightness_blur_speckle_and_patches() -> None:
    grey = torch.full((1, 1, 2, 40, 40), 100, dtype=torch.uint8)
    level = 100 / 255

    bright = pixels(augment(grey, [Parameters(gain=1.2, gradient=(0.1, 0))], 40))[0, 0]
    assert bright[0, 0, 20] == pytest.approx(1.2 * level, abs=0.01)
    assert bright[0, 0, -1] - bright[0, 0, 0] == pytest.approx(0.2 * level, abs=0.005)

    dot = torch.zeros((1, 1, 1, 41, 41), dtype=torch.uint8)
    dot[..., 20, 20] = 255
    blurred = pixels(augment(dot, [Parameters(blur=(5 / 41, 0))], 41))[0, 0, 0]
    assert blurred.sum() == pytest.approx(1, abs=1e-2)
    assert (blurred > 0.1).nonzero()[:, 0].tolist() == [20] * 6
    assert torch.allclose(
        pixels(augment(grey, [Parameters(blur=(0.2, 0.1))], 40)), torch.tensor(level), atol=1e-5
    )

    noisy = pixels(augment(grey, [Parameters(speckle=0.1, noise_seed=1)], 40))[0, 0] / level
    assert noisy.mean() == pytest.approx(1, abs=0.01)
    assert noisy.std() == pytest.approx(0.1, abs=0.01)
    assert not torch.equal(noisy[0], noisy[1])
    other = pixels(augment(grey, [Parameters(speckle=0.1, noise_seed=2)], 40))[0, 0] / level
    assert not torch.equal(noisy, other)

    patched = pixels(augment(grey, [Parameters(patches=((-0.1, 0.5, 0.25, 1.1),))], 40))[0, 0]
    black = patched.abs() < 1e-6
    assert black[:, :10, 20:].all()
    assert black.sum() == 2 * 10 * 20


def test_frames_are_spread_evenly() -> None:
    assert choose_frames(24, 12).tolist() == list(range(1, 24, 2))
    assert choose_frames(10, 10).tolist() == list(range(10))
    assert choose_frames(3, 6).tolist() == [0, 0, 1, 1, 2, 2]
    assert choose_frames(1, 4).tolist() == [0, 0, 0, 0]
    shares = np.random.default_rng(0).random(12)
    drawn = choose_frames(24, 12, shares)
    assert (drawn // 2).tolist() == list(range(12))
    assert len(set(drawn % 2)) == 2
    assert choose_frames(7, 3, np.full(3, np.nextafter(1, 0))).max() == 6
