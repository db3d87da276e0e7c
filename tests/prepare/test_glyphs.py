from __future__ import annotations

import numpy as np
import pytest
from fan_clips import fan_frames, fan_truth, printed
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter, shift

from bsou_dist.prepare.fan import find_fan
from bsou_dist.prepare.glyphs import has_rows_of_glyphs

FRAMES = fan_frames(3, 16, 400, 480)
FAN = fan_truth(400, 480)
Y, X = np.mgrid[:400, :480]
MIDDLE_Y, MIDDLE_X = 230, 240
MM_PER_PX = 0.5


def with_pocket() -> np.ndarray:
    """A dark pocket of fluid in the middle of the fan."""
    frames = FRAMES.copy()
    inside = np.hypot((X - MIDDLE_X) / 56, (Y - MIDDLE_Y) / 40) < 1
    noise = np.random.default_rng(0).integers(0, 5, FRAMES.shape)
    return np.where(inside, noise, frames).astype(np.uint8)


@pytest.mark.parametrize("cord_mm", [8, 12, 16])
@pytest.mark.parametrize("px_per_frame", [0.0, 0.4])
@pytest.mark.parametrize("is_speckled", [False, True])
def test_a_cord_in_fluid_stays(cord_mm: float, px_per_frame: float, is_speckled: bool) -> None:
    frames = with_pocket()
    outer_px = cord_mm / MM_PER_PX / 2
    speckle = gaussian_filter(np.random.default_rng(1).rayleigh(1.0, FAN.shape), 0.7)
    grey = (140 * speckle).clip(40, 255) if is_speckled else np.full(FAN.shape, 170.0)
    rings = []
    for number, frame in enumerate(frames):
        moved_px = px_per_frame * number
        radius = np.hypot(X - MIDDLE_X - moved_px, Y - MIDDLE_Y)
        ring = (radius < outer_px) & (radius > 0.6 * outer_px)
        frame[ring] = shift(grey, (0, moved_px), order=1, mode="nearest")[ring]
        rings.append(ring)
    assert find_fan(frames).mask[np.any(rings, axis=0)].all()


def test_nothing_of_a_clip_without_print_is_lost() -> None:
    for frames in (FRAMES, with_pocket()):
        assert (FAN & ~find_fan(frames).mask).sum() <= 0.005 * FAN.sum()


@pytest.mark.parametrize("grey", [60, 150, 250])
@pytest.mark.parametrize("y", [120, MIDDLE_Y - 5], ids=["over tissue", "in fluid"])
def test_rows_of_glyphs_inside_the_fan_go(grey: int, y: int) -> None:
    frames = with_pocket()
    ink = printed(np.zeros_like(frames[:1]), "DOE MARY", 215, y)[1]
    frames[:, ink] = grey
    found = find_fan(frames).mask
    assert (found & ink).sum() <= 0.1 * ink.sum()
    assert (FAN & ~found).sum() <= 0.03 * FAN.sum()


def test_dark_glyphs_over_tissue_go() -> None:
    frames = np.where(FAN, np.maximum(FRAMES, 90), 0).astype(np.uint8)
    ink = printed(np.zeros_like(frames[:1]), "DOE MARY", 215, 150)[1]
    frames[:, ink] = 0
    assert not (find_fan(frames).mask & ink).any()


def test_a_clock_in_fluid_goes_whole() -> None:
    frames = with_pocket()
    inks = []
    for number, frame in enumerate(frames):
        shown, ink = printed(frame[None], f"12:31:{10 + number}", 220, MIDDLE_Y - 5)
        frame[...] = shown[0]
        inks.append(ink)
    assert not (find_fan(frames).mask & np.any(inks, axis=0)).any()


def test_calipers_and_the_dots_between_them_go() -> None:
    mark = Image.new("1", (480, 400))
    draw = ImageDraw.Draw(mark)
    for x in (200, 280):
        draw.line((x - 7, 180, x + 7, 180), fill=1)
        draw.line((x, 173, x, 187), fill=1)
    draw.point([(x, 180) for x in range(210, 275, 5)], fill=1)
    ink = np.array(mark)
    frames = FRAMES.copy()
    frames[:, ink] = 230
    found = find_fan(frames).mask
    assert not (found & ink).any()
    assert (FAN & ~found).sum() <= 0.02 * FAN.sum()


def test_one_ring_two_letters_and_scattered_spots_are_no_proof() -> None:
    picture = np.zeros((100, 200), np.uint8)
    picture[np.hypot(X[:100, :200] - 50, Y[:100, :200] - 50) < 6] = 200
    assert not has_rows_of_glyphs(picture)
    assert not has_rows_of_glyphs(printed(picture[None], "MD", 100, 50)[0][0])
    assert has_rows_of_glyphs(printed(picture[None], "DOE MARY", 100, 50)[0][0])
    spots = gaussian_filter(np.random.default_rng(2).random((100, 200)), 2.0)
    assert not has_rows_of_glyphs(
        np.where(spots > np.quantile(spots, 0.9), 200, 0).astype(np.uint8)
    )
