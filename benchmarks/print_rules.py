"""What is lost of anatomy and what is left of print when clips are prepared.

Three tables:

- `lost`: share of the fan's pixels that are blanked in clips without print. Clips of the phantom
  over device, depth and gain; the same with a section of a cord in a pocket of fluid (bright ring,
  dark lumen); and the real clips in the folder that `BSOU_CLIPS` names, if it does.
- `planted`: share of the ink of planted print that survives, outside the fan and inside it, over
  device, depth, gain, codec, size and grey of the print.
- `kinds`: the same for print that a rule for still print beside the fan does not see: pages, noise
  around the fan, blinking, scrolling and dark print, a grey interface.

Ink survives where the mask of the fan holds it, in a frame that is kept, of a clip that is packed.

    BSOU_CLIPS=... .venv/bin/python benchmarks/print_rules.py

Phantom results test software and controlled failure modes; they support no clinical finding.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom.data import get_testdata_file
from scipy import ndimage

from bsou_dist.phantom import PHANTOM_NOTE, PhantomConfig, phantom_patient, render_sweep
from bsou_dist.phantom.files.screen import on_screen
from bsou_dist.phantom.imaging import PROBES, image_grid
from bsou_dist.phantom.patients import Exam
from bsou_dist.phantom.still_view import render_still_view
from bsou_dist.prepare.fan import find_fan
from bsou_dist.prepare.odd_frames import odd_frames
from bsou_dist.prepare.prepare_clip import PrepareConfig, RejectedClip, prepare
from bsou_dist.sources.raw_clip import RawClip
from bsou_dist.sources.read_clip import read_clip

Frames = NDArray[np.uint8]
Mask = NDArray[np.bool_]

PHANTOM = PhantomConfig(
    seed=3, frames=16, size_px=320, exams_per_patient=1, both_devices_fraction=1.0
)
PREPARE = PrepareConfig()
DEPTHS_MM = (120.0, 160.0, 180.0)
GAINS_DB = (-8.0, 0.0, 6.0)
CORDS_MM = (8.0, 12.0, 16.0)
MARGINS_PX = (40, 60)  # around the picture: above and below, left and right
SEEN_LEVEL = 20  # grey levels
REAL_CLIPS = (
    "freehand-spine-phantom.igs.mha",
    "bone-linear-probe.igs.mha",
    "nwire-phantom-freehand.igs.nrrd",
)


@dataclass(frozen=True)
class Scene:
    """A clip without print whose fan is known."""

    name: str
    frames: Frames
    fan: Mask


@dataclass(frozen=True)
class Verdict:
    """What preparing makes of a clip.

    Attributes:
        mask: what is kept of each picture, (H, W).
        kept: the frames that are kept.
        reason: why the clip is rejected, or None.
        notes: what is said of it.
    """

    mask: Mask
    kept: tuple[int, ...]
    reason: str | None
    notes: tuple[str, ...] = ()

    def surviving(self, ink: Mask) -> float:
        """Share of ink (F, H, W) that is packed."""
        inked_px = np.count_nonzero(ink)
        if self.reason is not None or not inked_px:
            return 0.0
        return np.count_nonzero(ink[list(self.kept)] & self.mask) / inked_px


def judged(frames: Frames) -> Verdict:
    """Prepare a grey clip and say what is kept of it."""
    raw = RawClip(frames, "npz", source_frames=len(frames), mm_per_px=PHANTOM.mm_per_px)
    try:
        clip = prepare(raw, PREPARE)
    except RejectedClip as error:
        return Verdict(np.zeros(frames.shape[1:], np.bool_), (), str(error))
    kept = np.flatnonzero(~odd_frames(frames))
    assert len(kept) == len(clip.frames)
    return Verdict(find_fan(frames[kept]).mask, tuple(kept.tolist()), None, clip.notes)


def exams() -> list[Exam]:
    """The same mother on both devices."""
    return list(phantom_patient(PHANTOM, 0).exams)


def scene(exam: Exam, depth_mm: float, gain_db: float, sweep: str = "M") -> Scene:
    """A sweep with a dark margin around its picture."""
    settings = replace(exam.settings, depth_mm=depth_mm, gain_db=gain_db)
    pictures = render_sweep(replace(exam, settings=settings), sweep, PHANTOM)
    size_px = PHANTOM.size_px
    grid = image_grid(PROBES[exam.probe], depth_mm, size_px, PHANTOM.field_mm)
    fan = np.zeros(size_px * size_px, np.bool_)
    fan[grid.pixel] = True
    rows, columns = MARGINS_PX
    around = ((rows, rows), (columns, columns))
    return Scene(
        name=f"{exam.probe}, {depth_mm:g} mm, {gain_db:+g} dB",
        frames=np.pad(pictures, ((0, 0), *around)),
        fan=np.pad(fan.reshape(size_px, size_px), around),
    )


def scenes(depths_mm: Iterable[float], gains_db: Iterable[float]) -> Iterator[Scene]:
    """A scene for each device, depth and gain."""
    for exam, depth_mm, gain_db in product(exams(), depths_mm, gains_db):
        yield scene(exam, depth_mm, gain_db)


# ------------------------------------------------------------------ lost anatomy


def fans_middle(fan: Mask) -> tuple[float, float]:
    """Row and column of the middle of a fan."""
    rows, columns = np.nonzero(fan)
    return float(rows.min() + 0.5 * np.ptp(rows)), float(columns.mean())


def with_pocket(clean: Scene) -> Frames:
    """Frames with a pocket of fluid in the middle of the fan, 56 by 40 mm."""
    rng = np.random.default_rng(0)
    middle_y, middle_x = fans_middle(clean.fan)
    y, x = np.indices(clean.fan.shape) * PHANTOM.mm_per_px
    across = (x - middle_x * PHANTOM.mm_per_px) / 28
    down = (y - middle_y * PHANTOM.mm_per_px) / 20
    pocket = np.hypot(across, down) < 1
    frames = clean.frames.copy()
    for frame in frames:
        frame[pocket] = rng.integers(0, 5, np.count_nonzero(pocket))
    return frames


def with_cord(clean: Scene, cord_mm: float, *, drifts: bool, speckled: bool) -> tuple[Scene, Mask]:
    """A scene with a pocket of fluid that holds a cord's section, and the ring over time."""
    rng = np.random.default_rng(0)
    middle_y, middle_x = fans_middle(clean.fan)
    y, x = np.indices(clean.fan.shape)
    speckle = ndimage.gaussian_filter(rng.rayleigh(1.0, clean.fan.shape), 0.7)
    frames = with_pocket(clean)
    rings = np.zeros(frames.shape, np.bool_)
    for number, frame in enumerate(frames):
        shift_px = 0.4 * number if drifts else 0.0
        radius = np.hypot(x - middle_x - shift_px, y - middle_y)
        outer = 0.5 * cord_mm / PHANTOM.mm_per_px
        rings[number] = (radius < outer) & (radius > 0.6 * outer)
        grey = 170.0
        if speckled:
            moved = ndimage.shift(speckle, (0.0, shift_px), order=1, mode="nearest")
            grey = np.clip(140 * moved, 40, 255)[rings[number]]
        frame[rings[number]] = grey
    cord = f"cord {cord_mm:g} mm, {'drifting' if drifts else 'still'}"
    grain = "speckled" if speckled else "even"
    return Scene(f"{clean.name}, {cord}, {grain}", frames, clean.fan), rings


def share(part: Mask, whole: Mask) -> float:
    return float(np.count_nonzero(part & whole) / max(1, np.count_nonzero(whole)))


def lost_of_phantom() -> list[dict[str, object]]:
    rows = []
    for clean in scenes(DEPTHS_MM, GAINS_DB):
        verdict = judged(clean.frames)
        rows.append(lost_row(clean.name, "phantom", clean.fan, clean.frames, verdict))
    return rows


def lost_of_cords() -> list[dict[str, object]]:
    rows = []
    for clean in scenes((160.0,), (-8.0, 6.0)):
        for cord_mm, drifts, speckled in product(CORDS_MM, (False, True), (False, True)):
            cord, rings = with_cord(clean, cord_mm, drifts=drifts, speckled=speckled)
            verdict = judged(cord.frames)
            row = lost_row(cord.name, "cord", cord.fan, cord.frames, verdict)
            ring = rings.any(axis=0)
            row["cord_lost_share"] = 1.0 if verdict.reason else share(~verdict.mask, ring)
            rows.append(row)
    return rows


def lost_of_real(folder: Path) -> list[dict[str, object]]:
    """Lost pixels of real clips, whole and halved; their fan is the hull of what is found."""
    paths = [folder / name for name in REAL_CLIPS]
    paths.append(Path(get_testdata_file("examples_ybr_color.dcm", download=False)))
    rows = []
    for path, halved in product(paths, (1, 2)):
        pictures = [Image.fromarray(frame).convert("L") for frame in read_clip(path).frames]
        frames = np.stack([np.asarray(picture.reduce(halved)) for picture in pictures])
        verdict = judged(frames)
        hull = hull_of(verdict.mask)
        name = path.name if halved == 1 else f"{path.name}, halved"
        rows.append(lost_row(name, "real", hull, frames, verdict))
    return rows


def lost_row(
    name: str, kind: str, fan: Mask, frames: Frames, verdict: Verdict
) -> dict[str, object]:
    """Shares of the fan's pixels, and of those that are ever seen, that are blanked."""
    ever_seen = fan & (frames.max(axis=0) >= SEEN_LEVEL)
    return {
        "clip": name,
        "kind": kind,
        "lost_share": 1.0 if verdict.reason else share(~verdict.mask, fan),
        "lost_seen_share": 1.0 if verdict.reason else share(~verdict.mask, ever_seen),
        "frames_dropped": 0 if verdict.reason else len(frames) - len(verdict.kept),
        "rejected": verdict.reason,
        "notes": list(verdict.notes),
    }


def hull_of(mask: Mask) -> Mask:
    """What lies between the first and the last pixel of a row: a fan has no gap there."""
    return (
        np.maximum.accumulate(mask, axis=1) & np.maximum.accumulate(mask[:, ::-1], axis=1)[:, ::-1]
    )


# ------------------------------------------------------------------ planted print


def ink_of(
    shape: tuple[int, ...], text: str, x: float, y: float, size_px: int
) -> NDArray[np.float32]:
    """Opacity (H, W) of a text whose first line begins at a place."""
    picture = Image.new("L", (shape[-1], shape[-2]))
    font = ImageFont.load_default(size=size_px)
    ImageDraw.Draw(picture).text((x, y), text, fill=255, font=font)
    return np.asarray(picture, np.float32) / 255


def inked(frames: Frames, opacity: NDArray[np.float32], grey: float) -> Frames:
    """Frames (F, H, W) with print over them; opacity is (H, W) or (F, H, W)."""
    return np.round(frames * (1 - opacity) + grey * opacity).astype(np.uint8)


def as_jpeg(frames: Frames) -> Frames:
    pictures = []
    for frame in frames:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=80)
        pictures.append(np.asarray(Image.open(buffer)))
    return np.stack(pictures)


def as_video(frames: Frames) -> Frames:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=20, options={"crf": "22", "threads": "1"})
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt = "yuv420p"
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="gray")))
            container.mux(stream.encode(None))
        read = read_clip(path).frames
    return read if read.ndim == 3 else read[..., 0]


CODECS: dict[str, Callable[[Frames], Frames]] = {
    "raw": lambda frames: frames,
    "jpeg": as_jpeg,
    "h264": as_video,
}
TEXT = "DOE M 12:31"


def places(clean: Scene, size_px: int) -> dict[str, tuple[str, float, float]]:
    """Text and corner of it for each place that print is planted at."""
    rows = np.nonzero(clean.fan)[0]
    top, depth_px, middle = rows.min(), np.ptp(rows), clean.fan.shape[1] / 2
    half_px = 2.9 * size_px  # about half the text's width
    flank_y = top + 0.35 * depth_px
    left = np.nonzero(clean.fan[int(flank_y)])[0][0]
    places = {
        "outside: corner": (TEXT, 4, 4),
        "outside: beside the flank": (TEXT, max(2, left - 2 * half_px - 14), flank_y - size_px),
        "inside: over tissue": (TEXT, middle - half_px, top + 0.3 * depth_px),
        "inside: deep": (TEXT, middle - half_px, top + 0.85 * depth_px),
        "inside: in fluid": (TEXT, middle - half_px, fans_middle(clean.fan)[0] - size_px / 2),
        "inside: at the flank's rim": (TEXT, left + 6, flank_y + 10),
    }
    if size_px <= 12:  # else it does not fit
        places["outside: in the hollow"] = ("MD", middle - 0.7 * size_px, top - 1)
    return places


def planted() -> list[dict[str, object]]:
    rows = []
    sorts = [("raw", size_px, grey) for size_px, grey in product((9, 12, 16), (250, 150, 60))]
    sorts += [("jpeg", size_px, 200) for size_px in (9, 12, 16)]
    sorts += [("h264", size_px, 200) for size_px in (9, 16)]
    for clean in scenes((120.0, 180.0), (-8.0, 4.0)):
        pocket = with_pocket(clean)
        for codec, size_px, grey in sorts:
            for place, (text, x, y) in places(clean, size_px).items():
                opacity = ink_of(clean.fan.shape, text, x, y, size_px)
                opacity *= ~clean.fan if place.startswith("outside") else clean.fan
                frames = inked(pocket if "fluid" in place else clean.frames, opacity, grey)
                verdict = judged(CODECS[codec](frames))
                every_ink = np.broadcast_to(opacity > 0.3, frames.shape)
                rows.append(
                    {
                        "clip": clean.name,
                        "place": place,
                        "codec": codec,
                        "size_px": size_px,
                        "grey": grey,
                        "surviving": verdict.surviving(every_ink),
                        "rejected": verdict.reason,
                    }
                )
    return rows


def printed_sweeps() -> list[dict[str, object]]:
    """The phantom's own printed screens: heading and lines beside the fan, calipers inside."""
    rows = []
    for exam, target in product(exams(), ("head", "abdomen")):
        view = render_still_view(exam, target, PHANTOM)
        bare = on_screen(view.frames, "", [])
        for what in ("print", "calipers"):
            screen = bare
            if what == "print":
                screen = on_screen(view.frames, "MUSTERFRAU MARIA 1990-01-02", ["HC", "Gn 10"])
            else:
                screen = on_screen(view.frames, "", [], calipers=view.calipers)
            difference = screen.frames[..., 0].astype(int) - bare.frames[..., 0]
            ink = np.abs(difference).max(axis=0) > 40
            verdict = judged(np.ascontiguousarray(screen.frames[..., 0]))
            every_ink = np.broadcast_to(ink, screen.frames.shape[:3])
            rows.append(
                {
                    "clip": f"{exam.probe}, {target}",
                    "place": f"the phantom's {what}",
                    "codec": "raw",
                    "surviving": verdict.surviving(every_ink),
                    "rejected": verdict.reason,
                }
            )
    return rows


# ------------------------------------------------------------------ kinds of print

PAGE = "PATIENT\nDOE MARY\nBORN 1990-01-02\nID 00471123\nST ANNA HOSPITAL"
Planted = tuple[Frames, Mask]
"""Frames with print, and the ink of each."""


def page(clean: Scene, shown: slice, background: int, ink_grey: int) -> Planted:
    """Some frames are a registration page."""
    opacity = ink_of(clean.fan.shape, PAGE, 110, 90, 22)
    frames = clean.frames.copy()
    count = len(frames[shown])
    blank = np.full((count, *clean.fan.shape), background, np.uint8)
    frames[shown] = inked(blank, opacity, ink_grey)
    ink = np.zeros(frames.shape, np.bool_)
    ink[shown] = opacity > 0.3
    return frames, ink


def noise_around(clean: Scene, level: int, sigma: int) -> Planted:
    """Noise stands around the fan, with print in a corner of it."""
    rng = np.random.default_rng(1)
    opacity = ink_of(clean.fan.shape, TEXT, 8, 8, 14)
    screen = level * (1 - opacity) + 230 * opacity
    around = np.clip(rng.normal(screen, sigma, clean.frames.shape), 0, 255).astype(np.uint8)
    ink = np.broadcast_to(opacity > 0.3, clean.frames.shape)
    return np.where(clean.fan, clean.frames, around), ink


def beside(
    clean: Scene, text_of: Callable[[int], tuple[str, float, float]], gap_px: int
) -> Planted:
    """Print that changes from frame to frame, beside the fan's flank."""
    rows = np.nonzero(clean.fan)[0]
    flank_y = int(rows.min() + 0.3 * np.ptp(rows))
    left = np.nonzero(clean.fan[flank_y])[0][0]
    frames = clean.frames.copy()
    ink = np.zeros(frames.shape, np.bool_)
    for number in range(len(frames)):
        text, right, down = text_of(number)
        width = ImageFont.load_default(size=12).getlength(text)
        opacity = ink_of(clean.fan.shape, text, left - width - gap_px + right, flank_y + down, 12)
        opacity = opacity * ~clean.fan
        frames[number] = inked(frames[number], opacity, 230)
        ink[number] = opacity > 0.3
    return frames, ink


def hollow_on_grey(clean: Scene, grey: int, ink_grey: int) -> Planted:
    """A grey interface fills all but the fan, and print stands in the hollow above the probe."""
    frames = np.where(clean.fan, clean.frames, np.uint8(grey))
    top = np.nonzero(clean.fan)[0].min()
    opacity = ink_of(clean.fan.shape, "MD 3", clean.fan.shape[1] / 2 - 14, top - 1, 11)
    opacity = opacity * ~clean.fan
    return inked(frames, opacity, ink_grey), np.broadcast_to(opacity > 0.3, frames.shape)


def dark_inside(clean: Scene) -> Planted:
    """Black print over the tissue."""
    rows = np.nonzero(clean.fan)[0]
    y = rows.min() + 0.3 * np.ptp(rows)
    opacity = ink_of(clean.fan.shape, TEXT, clean.fan.shape[1] / 2 - 40, y, 14)
    opacity = opacity * clean.fan
    return inked(clean.frames, opacity, 0), np.broadcast_to(opacity > 0.3, clean.frames.shape)


def clock_in_fluid(clean: Scene) -> Planted:
    """A clock counts the seconds over a pocket of fluid."""
    frames = with_pocket(clean)
    ink = np.zeros(frames.shape, np.bool_)
    middle_y, middle_x = fans_middle(clean.fan)
    for number in range(len(frames)):
        text = f"12:31:{10 + number}"
        opacity = ink_of(clean.fan.shape, text, middle_x - 30, middle_y - 7, 14)
        frames[number] = inked(frames[number], opacity, 230)
        ink[number] = opacity > 0.3
    return frames, ink


def scrolling(number: int) -> tuple[str, float, float]:
    return "DOE MARY", 0.0, -24.0 + 3.0 * number


def marquee(number: int) -> tuple[str, float, float]:
    text = "DOE MARY 1990-01-02   "
    return (text[number:] + text[:number])[:8], 0.0, 0.0


def blinking(number: int) -> tuple[str, float, float]:
    return ("DOE MARY" if number // 2 % 2 else ""), 0.0, 0.0


KINDS: dict[str, Callable[[Scene], Planted]] = {
    "page, first frame, black": lambda clean: page(clean, slice(0, 1), 0, 230),
    "page, last frame, black": lambda clean: page(clean, slice(-1, None), 0, 230),
    "page, three frames, black": lambda clean: page(clean, slice(6, 9), 0, 230),
    "page, first frame, grey": lambda clean: page(clean, slice(0, 1), 90, 230),
    "page, last two frames, white": lambda clean: page(clean, slice(-2, None), 235, 10),
    "noise around, 30 sigma 5": lambda clean: noise_around(clean, 30, 5),
    "noise around, 16 sigma 12": lambda clean: noise_around(clean, 16, 12),
    "blinking beside the fan": lambda clean: beside(clean, blinking, 4),
    "scrolling beside the fan": lambda clean: beside(clean, scrolling, 4),
    "running line beside the fan": lambda clean: beside(clean, marquee, 4),
    "white in the hollow on grey": lambda clean: hollow_on_grey(clean, 90, 240),
    "black in the hollow on grey": lambda clean: hollow_on_grey(clean, 90, 0),
    "dark over tissue": dark_inside,
    "a clock in fluid": clock_in_fluid,
}


def kinds() -> list[dict[str, object]]:
    rows = []
    for clean in scenes((160.0,), (-8.0, 4.0)):
        for kind, planted_in in KINDS.items():
            frames, ink = planted_in(clean)
            verdict = judged(frames)
            rows.append(
                {
                    "clip": clean.name,
                    "kind": kind,
                    "surviving": verdict.surviving(ink),
                    "fan_lost": 1.0 if verdict.reason else share(~verdict.mask, clean.fan),
                    "frames_dropped": 0 if verdict.reason else len(frames) - len(verdict.kept),
                    "rejected": verdict.reason,
                    "notes": list(verdict.notes),
                }
            )
    return rows


# ------------------------------------------------------------------ the report


def table(rows: list[dict[str, object]], names: tuple[str, ...], value: str) -> dict[str, object]:
    """Mean and largest value over all rows that agree in some columns."""
    groups: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        groups[" | ".join(str(row.get(name)) for name in names)].append(float(row[value]))  # type: ignore[arg-type]
    return {
        name: {
            "clips": len(values),
            "mean": round(float(np.mean(values)), 4),
            "worst": round(max(values), 4),
        }
        for name, values in groups.items()
    }


def rounded(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    return [
        {
            name: round(value, 5) if isinstance(value, float) else value
            for name, value in row.items()
        }
        for row in rows
    ]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results/print_rules.json"
    )
    options = parser.parse_args()
    lost = lost_of_phantom() + lost_of_cords()
    if "BSOU_CLIPS" in os.environ:
        lost += lost_of_real(Path(os.environ["BSOU_CLIPS"]))
    of_planted = planted()
    of_sweeps = printed_sweeps()
    of_kinds = kinds()
    cords = [row for row in lost if row["kind"] == "cord"]
    report = {
        "note": PHANTOM_NOTE,
        "lost_share_of_fan": table(lost, ("kind",), "lost_share"),
        "lost_share_of_cord": table(cords, ("kind",), "cord_lost_share"),
        "surviving_by_place": table(of_planted + of_sweeps, ("place",), "surviving"),
        "surviving_by_kind": table(of_kinds, ("kind",), "surviving"),
        "surviving_by_place_and_codec": table(of_planted, ("place", "codec"), "surviving"),
        "surviving_by_place_and_size_px": table(of_planted, ("place", "size_px"), "surviving"),
        "surviving_by_place_and_grey": table(of_planted, ("place", "grey"), "surviving"),
        "surviving_by_place_and_clip": table(of_planted, ("place", "clip"), "surviving"),
        "lost": rounded(lost),
        "kinds": rounded(of_kinds),
    }
    for name, rows in report.items():
        if isinstance(rows, dict) and "_and_" not in name:
            print(name)
            for group, values in rows.items():
                print(f"  {group:<50} {values}")
    options.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
