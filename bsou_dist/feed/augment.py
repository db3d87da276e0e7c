"""Augmentation as a pure function of (seed, epoch, key, view).

[P1] (*Improved Representation Learning with Multitasking in Blind Sweep Obstetric Ultrasound
Videos*) names speckle noise, random black patches, motion blur, brightness artifacts and rotations,
without their strengths; the strengths here are ours.

Parameters are drawn on the CPU per clip and view. Pixels are computed by operations whose result
for a clip does not depend on its neighbours in the batch (no matrix product, no convolution, no
fused multiply-add), so that a clip comes out bit for bit the same in any batch on one type of
device.

Shapes: B clips of F frames of H by W pixels; S is the side of the result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, reduce
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from bsou_dist.common.keyed_random import keyed_generator
from bsou_dist.common.strict_config import StrictConfig
from bsou_dist.feed.side_stream import to_device

MEAN, DEVIATION = 0.4011, 0.2222
"""Normalisation of pixels in [0, 1].

The Kinetics-400 statistics of torchvision's video weights, averaged over RGB.
"""

Probability = Annotated[float, Field(ge=0, le=1)]


class AugmentConfig(StrictConfig):
    """Strengths and probabilities, per clip and view.

    Lengths are fractions of the picture's side.
    """

    frame_jitter: bool = True
    """Draw each frame from its share of the sweep instead of taking the middle one."""
    rotation_degrees: float = Field(default=15.0, ge=0, le=180)
    rotation_probability: Probability = 0.8
    brightness: float = Field(default=0.3, ge=0, lt=1)
    """Gain drawn from 1 ± this, with a gradient of at most this across half the picture."""
    brightness_probability: Probability = 0.8
    blur_length: float = Field(default=0.06, ge=0, le=0.5)
    """Longest path of the motion blur."""
    blur_probability: Probability = 0.3
    speckle: float = Field(default=0.2, ge=0, le=1)
    """Largest deviation of the multiplicative noise."""
    speckle_probability: Probability = 0.5
    patches: int = Field(default=3, ge=0, le=20)
    """Most black patches; they stay in place over the sweep."""
    patch_size: float = Field(default=0.2, gt=0, le=1)
    patch_probability: Probability = 0.5


@dataclass(frozen=True)
class Parameters:
    """What is done to one view of one clip; the defaults change only the size of the picture."""

    rotation_degrees: float = 0.0
    gain: float = 1.0
    gradient: tuple[float, float] = (0.0, 0.0)
    """Change of gain from the centre to the right and to the lower edge."""
    blur: tuple[float, float] = (0.0, 0.0)
    """Path of the motion blur, rightward and downward, as fractions of the side."""
    speckle: float = 0.0
    patches: tuple[tuple[float, float, float, float], ...] = ()
    """Top, left, bottom, right, as fractions of the side."""
    noise_seed: int = 0


IDENTITY = Parameters()


def draw_parameters(
    config: AugmentConfig, seed: int, epoch: int, key: str, view: int
) -> Parameters:
    """Parameters of one view of one clip.

    Every draw is made whatever the probabilities, so that none moves another.
    """
    random = keyed_generator("augment", seed, epoch, key, view)

    def signed() -> float:
        return float(random.uniform(-1, 1))

    def happens(probability: float) -> bool:
        return bool(random.random() < probability)

    # The order of the draws is part of the result: what is drawn once stays drawn.
    rotation_degrees = config.rotation_degrees * signed() * happens(config.rotation_probability)

    brightness = config.brightness * happens(config.brightness_probability)
    gain = 1 + brightness * signed()
    slope = brightness * signed()
    slope_angle = math.pi * signed()

    blur_length = config.blur_length * float(random.random()) * happens(config.blur_probability)
    blur_angle = math.pi * signed()

    speckle = config.speckle * float(random.random()) * happens(config.speckle_probability)
    noise_seed = int(random.integers(2**63))

    patched = happens(config.patch_probability)
    count = int(random.integers(config.patches, endpoint=True))
    patches = []
    for _ in range(count if patched else 0):
        height, width = random.uniform(config.patch_size / 4, config.patch_size, size=2)
        # Half of a patch may lie outside the picture.
        top = random.uniform(-height / 2, 1 - height / 2)
        left = random.uniform(-width / 2, 1 - width / 2)
        patches.append((float(top), float(left), float(top + height), float(left + width)))

    return Parameters(
        rotation_degrees=rotation_degrees,
        gain=gain,
        gradient=(slope * math.cos(slope_angle), slope * math.sin(slope_angle)),
        blur=(blur_length * math.cos(blur_angle), blur_length * math.sin(blur_angle)),
        speckle=speckle,
        patches=tuple(patches),
        noise_seed=noise_seed,
    )


def choose_frames(total: int, wanted: int, shares: np.ndarray | None = None) -> np.ndarray:
    """Choose frames spread evenly over a sweep: one in each of `wanted` equal parts of it.

    Args:
        total: frames of the clip.
        wanted: frames to take; where there are fewer, frames repeat evenly.
        shares: (wanted,) in [0, 1), position within each part; None takes the middles.

    Returns:
        int64 (wanted,), never falling.
    """
    offsets = np.full(wanted, 0.5) if shares is None else shares
    positions = (np.arange(wanted) + offsets) * total / wanted
    return np.minimum(positions.astype(np.int64), total - 1)


def augment(
    clips: Tensor | Sequence[Tensor],
    parameters: Sequence[Parameters],
    size_px: int,
    out: Tensor | None = None,
) -> Tensor:
    """Warp, resize, disturb and normalise clips.

    All frames of a clip share geometry, gain, blur and patches.

    Args:
        clips: (B, 1, F, H, W), or B of (1, F, H, W), with values 0 .. 255, uint8 or floating.
        parameters: one per clip, of which there is at least one; `IDENTITY` only resizes.
        size_px: side of the result.
        out: where the result goes.

    Returns:
        float32 (B, 1, F, size_px, size_px), pixels clamped to [0, 1] and then normalised by MEAN
        and DEVIATION; `out` where it is given.
    """
    assert len(clips) == len(parameters), (len(clips), len(parameters))
    assert all(clip.ndim == 4 for clip in clips), [clip.shape for clip in clips]
    if out is None:
        shape = (len(clips), 1, clips[0].shape[1], size_px, size_px)
        out = clips[0].new_empty(shape, dtype=torch.float32)
    if out.is_cuda:
        together = clips if isinstance(clips, Tensor) else torch.stack(list(clips))
        _augment(together.squeeze(1), parameters, size_px, out.squeeze(1))
        return out
    # A CPU is more than twice as fast on one clip at a time, which stays in its cache.
    for clip, parameter, row in zip(clips, parameters, out, strict=True):
        _augment(clip, [parameter], size_px, row)
    return out


def _augment(clips: Tensor, parameters: Sequence[Parameters], size_px: int, out: Tensor) -> None:
    """`augment` of (B, F, H, W) into (B, F, S, S)."""
    pictures = _warp(clips, parameters, size_px)
    for clip, parameter in zip(pictures, parameters, strict=True):
        _blur(clip, parameter, size_px)  # in place, as all that follows
    pictures.mul_(_gain(parameters, size_px, pictures.device) / 255)
    for clip, parameter in zip(pictures, parameters, strict=True):
        _speckle(clip, parameter)
        _blacken(clip, parameter, size_px)
    torch.div(pictures.clamp_(0, 1).sub_(MEAN), DEVIATION, out=out)


def _columns(values: Sequence[Sequence[float]], device: torch.device) -> tuple[Tensor, ...]:
    """Several values per clip, (B, n), as n tensors float32 (B, 1, 1), in one transfer."""
    by_clip = to_device(torch.tensor(values, dtype=torch.float32), device)
    return by_clip[:, None, None].unbind(-1)


def _pixel_centres(size_px: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """x (1, 1, S) and y (1, S, 1) in [-1, 1], as `grid_sample` with align_corners=False counts."""
    centres = to_device(_centres(size_px), device)
    return centres[None, None, :], centres[None, :, None]


@cache
def _centres(size_px: int) -> Tensor:
    return (2 * torch.arange(size_px, dtype=torch.float32) + 1) / size_px - 1


def _warp(clips: Tensor, parameters: Sequence[Parameters], size_px: int) -> Tensor:
    """Rotate (B, F, H, W) about the centre and resize to float32 (B, F, S, S), in one sampling."""
    pictures = _shrunk(clips.float(), size_px)
    angles = [math.radians(parameter.rotation_degrees) for parameter in parameters]
    turns = [(math.cos(angle), math.sin(angle)) for angle in angles]
    cosine, sine = _columns(turns, clips.device)
    x, y = _pixel_centres(size_px, clips.device)
    # Spelled out, since the matrix product of torch's affine_grid may round otherwise in a batch of
    # another size.
    grid = torch.stack([cosine * x - sine * y, sine * x + cosine * y], dim=-1)
    return F.grid_sample(pictures, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _shrunk(pictures: Tensor, size_px: int) -> Tensor:
    """Means over whole blocks of pixels, before bilinear sampling.

    A factor of less than two is left to that sampling, which sees four pixels.
    """
    height, width = pictures.shape[-2:]
    factor = min(height, width) // size_px
    if factor < 2:
        return pictures
    if height % factor or width % factor:
        return F.interpolate(pictures, size=[height // factor, width // factor], mode="area")
    # Slices added up take a quarter of the time of avg_pool2d.
    columns = [pictures[..., first::factor] for first in range(factor)]
    row_sums = reduce(torch.add, columns)
    rows = [row_sums[..., first::factor, :] for first in range(factor)]
    return reduce(torch.add, rows) / factor**2


def _blur(clip: Tensor, parameter: Parameters, size_px: int) -> None:
    """Average (F, S, S) in place along the path `parameter.blur`, in whole pixels.

    The border is repeated.
    """
    right_px = parameter.blur[0] * size_px
    down_px = parameter.blur[1] * size_px
    taps = round(math.hypot(right_px, down_px)) + 1
    if taps == 1:
        return
    reach = taps  # no tap lies further out
    padded = F.pad(clip[None], (reach, reach, reach, reach), mode="replicate")[0]
    total = torch.zeros_like(clip)
    for tap in range(taps):
        share = tap / (taps - 1)
        top = reach + round(share * down_px) - round(down_px / 2)
        left = reach + round(share * right_px) - round(right_px / 2)
        total += padded[:, top : top + size_px, left : left + size_px]
    clip.copy_(total / taps)


def _gain(parameters: Sequence[Parameters], size_px: int, device: torch.device) -> Tensor:
    """Brightness (B, 1, S, S): a gain and a linear gradient of it over the picture."""
    x, y = _pixel_centres(size_px, device)
    values = [(parameter.gain, *parameter.gradient) for parameter in parameters]
    gain, rightward, downward = _columns(values, device)
    return (gain + rightward * x + downward * y).clamp_(min=0)[:, None]


def _speckle(clip: Tensor, parameter: Parameters) -> None:
    """Multiplicative Gaussian noise on (F, S, S) in place, from a generator of the clip's own."""
    if parameter.speckle == 0:
        return
    generator = torch.Generator(clip.device).manual_seed(parameter.noise_seed)
    noise = torch.randn(clip.shape, generator=generator, device=clip.device)
    clip.mul_(noise.mul_(parameter.speckle).add_(1))


def _blacken(clip: Tensor, parameter: Parameters, size_px: int) -> None:
    """Black patches on (F, S, S) in place."""
    for patch in parameter.patches:
        top, left, bottom, right = (max(0, round(edge * size_px)) for edge in patch)
        clip[:, top:bottom, left:right] = 0
