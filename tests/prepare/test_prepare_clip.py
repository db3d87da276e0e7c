from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from fan_clips import fan_frames, fan_truth, printed, write_video
from PIL import Image
from pydantic import ValidationError
from pydicom.data import get_testdata_file
from scipy.ndimage import maximum_filter

from bsou_dist.prepare.fan import find_fan
from bsou_dist.prepare.prepare_clip import PrepareConfig, RejectedClip, prepare
from bsou_dist.sources.raw_clip import RawClip, Region
from bsou_dist.sources.read_clip import read_clip

SMALL = PrepareConfig(size_px=64, field_mm=128.0)
FRAMES, FAN = fan_frames(), fan_truth()
HOLLOW = fan_frames(3, 16, 400, 480)  # with room for print above the probe
HOLLOW_FAN = fan_truth(400, 480)


def raw(frames: np.ndarray, **changes: object) -> RawClip:
    return RawClip(frames, "npz", **{"source_frames": len(frames), "mm_per_px": 1.2, **changes})  # type: ignore[arg-type]


def rejection(clip: RawClip, config: PrepareConfig = SMALL, mm_per_px: float | None = None) -> str:
    with pytest.raises(RejectedClip) as raised:
        prepare(clip, config, mm_per_px)
    return str(raised.value)


def test_fan_is_found_to_the_pixel() -> None:
    found = find_fan(FRAMES).mask
    assert (found & FAN).sum() > 0.98 * FAN.sum()
    assert (found & ~maximum_filter(FAN, 3)).sum() < 0.002 * FAN.sum()


def test_dark_fluid_at_the_rim_stays_in_the_fan() -> None:
    frames = FRAMES.copy()
    y, x = np.mgrid[:96, :112]
    frames[:, np.hypot(x - 70, y - 70) < 14] = 3
    assert (find_fan(frames).mask & FAN).sum() > 0.97 * FAN.sum()


@pytest.mark.parametrize(
    ("text", "x", "y"),
    [
        ("MARY", 0, 0),
        ("MARY", 2, 20),
        ("MARY", 78, 2),
        ("MARY", 1, 84),
        ("MARY", 88, 30),
        ("II", 52, 4),
    ],
)
def test_print_near_the_fan_and_in_its_hollow_is_blanked(text: str, x: int, y: int) -> None:
    frames, ink = printed(FRAMES, text, x, y)
    assert ink.any()
    assert not (ink & FAN).any()
    assert not (find_fan(frames).mask & ink).any()


def test_print_in_a_haze_that_joins_it_to_the_tissue_is_blanked() -> None:
    frames, ink = printed(FRAMES, "II", 52, 4)
    frames[:, 4:20, 48:64] = np.maximum(frames[:, 4:20, 48:64], 30)
    assert not (find_fan(frames).mask & ink).any()


def over_time(
    frames: np.ndarray, texts: list[str], x: int, y: int
) -> tuple[np.ndarray, np.ndarray]:
    """A text burned into each frame, and the mask of all their pixels."""
    shown = [printed(frames[number : number + 1], text, x, y) for number, text in enumerate(texts)]
    return np.concatenate([frame for frame, _ in shown]), np.any([ink for _, ink in shown], axis=0)


TIMES = {
    "the first half only": ["DOE 12:31"] * 8 + [""] * 8,
    "one frame only": [""] * 7 + ["DOE 12:31"] + [""] * 8,
    "a clock": [f"13:05:{second:02}" for second in range(3, 67, 4)],
    "a slow clock": [f"13:05:{second // 5:02}" for second in range(16)],
}


@pytest.mark.parametrize("when", TIMES)
def test_print_that_comes_goes_or_counts_is_blanked(when: str) -> None:
    frames, ink = over_time(HOLLOW, TIMES[when], 220, 44)
    found = find_fan(frames).mask
    assert not (found & ink).any()
    assert (found & HOLLOW_FAN).sum() > 0.98 * HOLLOW_FAN.sum()


def test_a_limb_that_floats_and_dim_depths_stay_in_the_fan() -> None:
    frames = HOLLOW.copy()
    y, x = np.mgrid[:400, :480]
    around, depth = np.hypot(x - 240, y - 220), np.maximum(y - 300, 0) / 100
    frames[:, (around > 25) & (around < 50)] = 3  # fluid around a limb
    frames = (frames * (1 - 0.8 * depth)).astype(np.uint8)
    assert (find_fan(frames).mask & HOLLOW_FAN).sum() > 0.98 * HOLLOW_FAN.sum()


def test_print_is_blanked_in_lossy_video(tmp_path: Path) -> None:
    frames, ink = printed(np.pad(FRAMES, ((0, 0), (0, 0), (16, 16))), "M MUSTERFRAU", 2, 2)
    write_video(tmp_path / "clip.mp4", frames)
    fan = find_fan(read_clip(tmp_path / "clip.mp4").frames[..., 0]).mask
    assert not (fan & ink & ~np.pad(FAN, ((0, 0), (16, 16)))).any()
    assert (fan[:, 16:-16] & FAN).sum() > 0.97 * FAN.sum()


def test_clock_progress_bar_and_popup_are_not_fan() -> None:
    frames = np.pad(FRAMES, ((0, 0), (0, 24), (0, 40)))
    random = np.random.default_rng(0)
    frames[:, 4:12, 120:145] = random.integers(0, 255, (12, 8, 25))  # a clock
    frames[:, 100:102, :110] = random.integers(0, 255, (12, 2, 110))  # a bar
    frames[6:, 110:118, 10:90] = 200  # a message that comes up and stays
    found = find_fan(frames).mask
    assert not found[96:].any()
    assert not found[:, 112:].any()
    assert (found[:96, :112] & FAN).sum() > 0.98 * FAN.sum()


def test_outside_the_fan_is_zero_after_preparation() -> None:
    frames, _ = printed(FRAMES, "MARY", 0, 0)
    clean, with_print = prepare(raw(FRAMES), SMALL), prepare(raw(frames), SMALL)
    np.testing.assert_array_equal(with_print.frames, clean.frames)
    assert clean.frames.dtype == np.uint8
    assert clean.frames.shape == (12, 64, 64)


@pytest.mark.parametrize("level", [45, 230])
@pytest.mark.parametrize(("x", "y"), [(1, 1), (5, 41), (109, 17), (5, 169)])
def test_thin_print_leaves_no_trace_in_pictures_shrunk_before_the_fan_is_looked_for(
    x: int, y: int, level: int
) -> None:
    fine = FRAMES.repeat(2, axis=1).repeat(2, axis=2)
    frames = fine.copy()
    # An H in strokes of one pixel, half a pixel after shrinking.
    frames[:, y : y + 9, x] = level
    frames[:, y : y + 9, x + 6] = level
    frames[:, y + 4, x : x + 7] = level
    clean, with_print = (prepare(raw(clip, mm_per_px=0.6), SMALL) for clip in (fine, frames))
    np.testing.assert_array_equal(with_print.frames, clean.frames)


def test_shrinking_moves_the_fans_edge_by_no_more_than_a_pixel() -> None:
    fine = fan_frames(height=192, width=224)
    halves = np.stack([np.asarray(Image.fromarray(frame).reduce(2)) for frame in fine])
    whole, shrunk = find_fan(fine).mask, find_fan(halves).mask.repeat(2, axis=0).repeat(2, axis=1)
    assert not (shrunk & ~maximum_filter(whole, 5)).any()
    assert not (whole & ~maximum_filter(shrunk, 5)).any()


def test_what_the_reader_has_shrunk_is_not_shrunk_again() -> None:
    """Or print would lose another half of its brightness."""
    fine = FRAMES.repeat(2, axis=1).repeat(2, axis=2)
    # Thin print in the hollow, bright enough to be found unless it is shrunk.
    fine[:, 17:26, 109] = 21
    clean = np.where(fine == 21, 0, fine).astype(np.uint8)
    twice_as_fine, as_read = (raw(clip, mm_per_px=0.6, shrunk=2) for clip in (clean, fine))
    np.testing.assert_array_equal(
        prepare(as_read, SMALL).frames, prepare(twice_as_fine, SMALL).frames
    )


def test_the_clip_as_read_is_left_as_it_is() -> None:
    frames = FRAMES.copy()
    prepare(raw(frames), SMALL)
    np.testing.assert_array_equal(frames, FRAMES)


def _extent_px(frames: np.ndarray) -> tuple[int, int]:
    seen = frames.max(axis=0) > 8
    return int(seen.any(axis=0).sum()), int(seen.any(axis=1).sum())


def test_scale_is_physical_whatever_the_pixel_count() -> None:
    coarse = prepare(raw(FRAMES, mm_per_px=1.2), SMALL)
    fine = prepare(raw(FRAMES.repeat(3, axis=1).repeat(3, axis=2), mm_per_px=0.4), SMALL)
    tall = prepare(raw(FRAMES.repeat(2, axis=1), mm_per_px=1.2, pixel_aspect=0.5), SMALL)
    assert coarse.mm_per_px == 2.0
    across, down = _extent_px(coarse.frames)
    assert abs(across - np.ptp(np.nonzero(FAN)[1]) * 1.2 / 2) <= 2
    assert abs(down - np.ptp(np.nonzero(FAN)[0]) * 1.2 / 2) <= 2
    for other in (fine, tall):
        assert np.abs(np.subtract(_extent_px(other.frames), (across, down))).max() <= 1
        difference = np.abs(other.frames.astype(int) - coarse.frames)
        assert difference[:, 10:30, 24:40].mean() < 8  # well inside, where edges do not count


def test_fan_is_centred_across_and_starts_at_the_top() -> None:
    shifted = np.pad(FRAMES, ((0, 0), (30, 0), (50, 0)))
    expected = prepare(raw(FRAMES), SMALL).frames
    difference = prepare(raw(shifted), SMALL).frames.astype(int) - expected
    assert np.abs(difference).max() <= 1  # rounding of the place in the picture
    seen = np.nonzero(expected.max(axis=0) > 8)
    assert seen[0].min() <= 1
    assert abs(seen[1].min() + seen[1].max() - 63) <= 2


def test_depth_below_the_field_is_cut_and_told() -> None:
    clip = prepare(raw(FRAMES, mm_per_px=2.4), SMALL)
    depth_mm = (np.ptp(np.nonzero(FAN)[0]) + 1) * 2.4
    assert clip.depth_lost_mm == pytest.approx(depth_mm - 128.0, abs=2 * 2.4)
    assert clip.notes == (
        f"depth lost: {clip.depth_lost_mm:.1f} mm of the fan lie below the field",
    )
    assert prepare(raw(FRAMES), SMALL).depth_lost_mm == 0
    assert prepare(raw(FRAMES), SMALL).notes == ()
    tall = raw(FRAMES.repeat(2, axis=1), mm_per_px=2.4, pixel_aspect=0.5)
    assert prepare(tall, SMALL).depth_lost_mm == pytest.approx(clip.depth_lost_mm, abs=2 * 2.4)


def test_without_spacing_the_longer_side_fills_the_frame() -> None:
    clip = prepare(raw(FRAMES, mm_per_px=None), SMALL)
    assert clip.mm_per_px is None
    across, down = _extent_px(clip.frames)
    assert max(across, down) >= 62
    rows, columns = np.nonzero(FAN)
    assert down / across == pytest.approx(np.ptp(rows) / np.ptp(columns), abs=0.06)


def test_spacing_of_the_file_goes_before_the_tables() -> None:
    expected = prepare(raw(FRAMES, mm_per_px=1.2), SMALL).frames
    np.testing.assert_array_equal(prepare(raw(FRAMES, mm_per_px=1.2), SMALL, 2.0).frames, expected)
    np.testing.assert_array_equal(prepare(raw(FRAMES, mm_per_px=None), SMALL, 1.2).frames, expected)


def test_region_is_cropped_to() -> None:
    beside = np.pad(FRAMES, ((0, 0), (0, 0), (0, 112)))
    beside[:, :, 112:] = fan_frames(5)  # a second picture, larger in area than nothing
    beside[:, 40:60, 100:124] = fan_frames(6)[:, 40:60, 40:64]  # and joined to the first
    clip = prepare(raw(beside, region=Region(0, 0, 100, 96)), SMALL)
    np.testing.assert_array_equal(clip.frames, prepare(raw(FRAMES[:, :, :100]), SMALL).frames)


def test_frames_are_chosen_evenly_with_both_ends() -> None:
    config = SMALL.model_copy(update={"max_frames": 4})
    sources = [prepare(raw(FRAMES), SMALL).frames[index] for index in (0, 4, 7, 11)]
    assert np.abs(prepare(raw(FRAMES), config).frames.astype(int) - np.stack(sources)).mean() < 1


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (FRAMES[:1], "still image"),
        (FRAMES[:3], "too few frames"),
        (FRAMES // 20, "no tissue"),
        (np.broadcast_to(FRAMES[0], FRAMES.shape), "still image"),
        (np.where(np.arange(12)[:, None, None] % 6 == 0, FRAMES // 2, FRAMES // 12), "no tissue"),
    ],
)
def test_useless_clips_are_rejected(frames: np.ndarray, reason: str) -> None:
    assert rejection(raw(np.ascontiguousarray(frames))).split(":")[0] == reason


def with_page(frames: np.ndarray, shown: slice, ground: int = 0) -> np.ndarray:
    """Frames some of which are a registration page."""
    frames = frames.copy()
    frames[shown] = printed(np.full_like(frames[:1], ground), "DOE MARY 1990-01-02", 190, 200)[0]
    return frames


@pytest.mark.parametrize("ground", [0, 90])
@pytest.mark.parametrize("shown", [slice(0, 1), slice(-1, None), slice(6, 9)])
def test_frames_of_a_registration_page_are_dropped_and_noted(shown: slice, ground: int) -> None:
    clean = np.delete(HOLLOW, shown, axis=0)
    clip = prepare(raw(with_page(HOLLOW, shown, ground)), SMALL)
    np.testing.assert_array_equal(clip.frames, prepare(raw(clean), SMALL).frames)
    assert clip.notes[0] == f"frames dropped: {16 - len(clean)} show another screen"


def test_a_clip_of_two_screens_is_rejected() -> None:
    half_page = with_page(HOLLOW, slice(0, 6))
    assert rejection(raw(half_page)).startswith("changing screens: 6 of 16")
    few = with_page(HOLLOW[:5], slice(0, 1))
    config = PrepareConfig(size_px=64, field_mm=128.0, min_frames=5)
    assert rejection(raw(few), config).startswith("too few frames: 4 of at least 5")


def test_frames_without_contact_stay() -> None:
    frames = HOLLOW.copy()
    frames[4:7] = 0
    frames[4:7, 62:80] = HOLLOW[4:7, 62:80]  # the probe's own ringing
    assert len(prepare(raw(frames, mm_per_px=0.3), SMALL).frames) == 16


def with_noise_around(level: int, sigma: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise outside the fan with print in a corner, and the print's mask."""
    ink = printed(np.zeros_like(HOLLOW[:1]), "DOE M", 6, 6)[1]
    screen = np.where(ink, 230.0, level)
    noise = np.random.default_rng(1).normal(screen, sigma, HOLLOW.shape).clip(0, 255)
    return np.where(HOLLOW_FAN, HOLLOW, noise.astype(np.uint8)), ink


def test_noise_around_the_fan_is_told_apart_and_noted() -> None:
    frames, ink = with_noise_around(30, 5)
    found = find_fan(frames)
    assert found.noise_around
    assert not (found.mask & ink).any()
    assert (found.mask & HOLLOW_FAN).sum() > 0.97 * HOLLOW_FAN.sum()
    assert (found.mask & ~HOLLOW_FAN).sum() < 0.05 * HOLLOW_FAN.sum()
    assert prepare(raw(frames, mm_per_px=0.3), SMALL).notes[0].startswith("noise around the fan: ")


def test_a_clip_that_noise_drowns_is_rejected() -> None:
    frames, _ = with_noise_around(16, 12)
    assert rejection(raw(frames, mm_per_px=1.2)).startswith("noise around the fan: nothing moves")


def test_a_fan_that_fills_the_picture_is_noted() -> None:
    inside = HOLLOW[:, 120:300, 180:300]
    notes = prepare(raw(np.ascontiguousarray(inside), mm_per_px=0.6), SMALL).notes
    assert [note.split(":")[0] for note in notes] == ["fan fills the picture"]
    assert prepare(raw(HOLLOW, mm_per_px=0.3), SMALL).notes == ()


def test_a_slow_sweep_over_a_dark_scene_is_no_still_image() -> None:
    """Little changes from one frame to the next, and all from the first to the last."""
    steps = np.linspace(0, 10, 40)
    before = steps.astype(int)
    part = (steps - before)[:, None, None]
    slow = (HOLLOW[before] * (1 - part) + HOLLOW[before + 1] * part) * 0.3
    clip = raw(slow.astype(np.uint8), mm_per_px=0.3)
    found = find_fan(clip.frames)
    assert found.is_dark_scene
    assert (found.mask & HOLLOW_FAN).sum() > 0.9 * HOLLOW_FAN.sum()
    assert prepare(clip, SMALL).notes[0].startswith("dark scene: ")
    still = np.broadcast_to(slow[:1].astype(np.uint8), slow.shape)
    flicker = np.random.default_rng(0).integers(0, 4, slow.shape).astype(np.uint8)
    assert rejection(raw(still + flicker, mm_per_px=0.3)).startswith("still image")


def test_spacing_in_the_wrong_unit_is_rejected() -> None:
    assert rejection(raw(FRAMES, mm_per_px=None), mm_per_px=0.012).startswith("implausible spacing")
    assert rejection(raw(FRAMES, mm_per_px=12.0)).startswith("implausible spacing")


def coloured(frames: np.ndarray, rgb: tuple[float, float, float]) -> np.ndarray:
    return (frames[..., None] * np.array(rgb)).astype(np.uint8)


@pytest.mark.parametrize("colours", [[(1.0, 0.1, 0.1), (0.1, 0.1, 1.0)], [(1.0, 0.6, 0.0)]])
def test_colour_doppler_is_rejected(colours: list[tuple[float, float, float]]) -> None:
    frames = coloured(FRAMES, (1.0, 1.0, 1.0))
    for place, rgb in enumerate(colours):
        box = np.s_[4:9, 50:60, 50 + 8 * place : 58 + 8 * place]
        frames[box] = coloured(FRAMES[box] // 2 + 127, rgb)
    assert rejection(raw(frames)) == "colour Doppler"


@pytest.mark.parametrize("rgb", [(1.0, 1.0, 1.0), (1.0, 0.8, 0.5), (0.6, 0.8, 1.0)])
def test_tinted_grey_stays(rgb: tuple[float, float, float]) -> None:
    frames = coloured(FRAMES, rgb)
    frames[:, :3, :3] = (0, 255, 0)  # a coloured mark outside the fan
    np.testing.assert_allclose(prepare(raw(frames), SMALL).mm_per_px, 2.0)


def test_orange_doppler_is_not_taken_for_the_cast_of_a_camera() -> None:
    frames = coloured(FRAMES, (1.0, 0.99, 0.98))
    frames[:, 50:60, 50:60] = coloured(FRAMES[:, 50:60, 50:60] // 2 + 127, (1.0, 0.6, 0.0))
    assert rejection(raw(frames)) == "colour Doppler"


def test_doppler_on_a_tinted_clip_is_rejected() -> None:
    frames = coloured(FRAMES, (1.0, 0.8, 0.5))
    frames[:, 50:60, 50:60] = coloured(FRAMES[:, 50:60, 50:60] // 2 + 127, (0.1, 0.2, 1.0))
    assert rejection(raw(frames)) == "colour Doppler"


def test_config_says_what_is_wrong() -> None:
    with pytest.raises(ValidationError, match="even"):
        PrepareConfig(size_px=65)
    with pytest.raises(ValidationError, match="field_cm"):
        PrepareConfig(field_cm=19.2)  # type: ignore[call-arg]


def test_pydicoms_ultrasound_clip_is_prepared() -> None:
    path = Path(get_testdata_file("examples_ybr_color.dcm", download=False))
    clip = prepare(read_clip(path), PrepareConfig())
    assert clip.frames.shape == (30, 256, 256)
    assert clip.mm_per_px is None  # its region leaves the frame
    share = (clip.frames.max(axis=0) > 0).mean()
    assert 0.4 < share < 0.6  # the whole sector, and no menus: they would reach the corners
    assert not clip.frames[:, :40, :60].any()
    assert not clip.frames[:, :40, -60:].any()


@pytest.mark.skipif(
    "BSOU_CLIPS" not in os.environ, reason="BSOU_CLIPS names no folder of real clips"
)
def test_real_clips() -> None:
    folder = Path(os.environ["BSOU_CLIPS"])
    assert rejection(read_clip(folder / "colour-doppler.dcm"), PrepareConfig()) == "colour Doppler"
    clip = prepare(read_clip(folder / "freehand-spine-phantom.igs.mha"), PrepareConfig(), 0.12)
    assert clip.frames.shape == (21, 256, 256)
    assert clip.mm_per_px == 0.75
    for name in ("bone-linear-probe.igs.mha", "freehand-spine-phantom.igs.mha"):
        mask = find_fan(read_clip(folder / name).frames).mask
        hull = (
            np.maximum.accumulate(mask, axis=1) & np.maximum.accumulate(mask[:, ::-1], 1)[:, ::-1]
        )
        assert (hull & ~mask).sum() <= 0.005 * hull.sum()
    wires = read_clip(folder / "nwire-phantom-freehand.igs.nrrd")
    assert find_fan(wires.frames).is_dark_scene
    assert rejection(wires, PrepareConfig()).startswith("no tissue: ")  # wires in water
